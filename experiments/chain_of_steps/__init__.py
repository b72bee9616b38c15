"""Chain-of-Steps (arXiv 2603.16870): does a video model think along its denoising steps?"""
