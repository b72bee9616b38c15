"""Visual thoughts (VChain): keyframes, the files they are kept in, and adapting a model to them."""
