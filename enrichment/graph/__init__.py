"""PinSage and ItemSage for who has none to import: networks trained on boards and the log (§3.3).

`omnisearch enrich graph` trains each once and saves it; items that come later are embedded by the
saved network.
"""
