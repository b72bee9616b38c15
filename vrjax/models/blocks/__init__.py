"""What transformers of several families share: attention and its placement on a mesh, norms, blocks, named sites."""
