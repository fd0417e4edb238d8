"""Other engines that scripts/bench.py times, each in a module of its own that needs its packages installed.

A module has CONVERTED, the name of the file that its convert(config, weights, path) makes of a model, or None; and
Engine(path, config, weights, threads), of that file or, where there is none, of the weights, name -> array:

  start(tokens)   forgets everything, feeds a prompt and returns the logits of its last token
  step(token)     feeds one more and returns its logits
"""
