"""The classifiers that the published systems put behind a network's features, or over the pixels themselves.

Nothing fitted here is written to disk. A fit takes seconds from the features that a run keeps, and the same
features and seed give the same answers, so there is no pickled model that anybody would have to trust.
"""
