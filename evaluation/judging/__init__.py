"""Human relevance evaluation (§5.1): queries drawn over head and tail, the first results of two
systems mixed blind, three judgments a pair taken in the terminal or as CSV, agreement of the
judges, and which system is the more relevant."""
