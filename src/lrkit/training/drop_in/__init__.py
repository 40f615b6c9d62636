"""torch's schedulers under torch's names; the public module is `lrkit.torch_names`.

Each class has torch's class of that name among its parents: its constructor, its attributes and the form of its state
are torch's own, and `isinstance` says so to those who ask. What is ours is where the rates come from.
"""
