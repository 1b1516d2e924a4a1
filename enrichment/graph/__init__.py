"""PinSage and ItemSage networks trained on boards and the log, if none are imported (§3.3).

`omnisearch enrich graph` trains each once and saves it; the saved network embeds later items.
"""
