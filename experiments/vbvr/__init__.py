"""VBVR-Bench with any model of ours: videos as its kit expects them, the kit's scores, three control rows."""
