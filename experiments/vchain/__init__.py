"""VChain (arXiv 2510.05094) in a small world: do visual thoughts make a video model follow cause and effect?"""
