"""Query embeddings while serving: what is remembered, where it is shared, who asks the model."""
