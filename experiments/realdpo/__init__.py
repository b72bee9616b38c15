"""RealDPO (arXiv 2510.14955) in a world with an exact judge: do preferences against a model's own samples beat SFT?"""
