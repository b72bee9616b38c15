"""The parts of the VChain study: the world of causal chains, its base models, the arms, and what is made of them."""
