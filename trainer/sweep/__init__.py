"""A paper's grid (optimiser x epochs x network x fold) as cells that run anywhere and survive anything.

``grid`` turns experiments and folds into cells, each a description that any process on any host can follow.
``cell_directory`` keeps what became of each on disk. ``executors`` run cells: here, in processes of this
machine, or on a Ray cluster. ``run`` goes through them until each is done or has failed.
"""
