"""Human relevance evaluation (§5.1): queries sampled from head to tail, the first results of two
systems mixed blind, three judgments a pair collected in the terminal or as CSV, agreement of the
judges, and which system is more relevant. In the same way people rate machine captions
(§3.2.1)."""
