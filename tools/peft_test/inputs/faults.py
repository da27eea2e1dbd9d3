def run(c, d): pass
