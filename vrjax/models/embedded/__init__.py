"""The embedded worlds' models: codec and words without parameters, and the small trained models that are shipped."""
