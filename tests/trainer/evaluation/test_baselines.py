import numpy as np

from trainer.evaluation.baselines import colour_statistics, nearest_neighbour, probe


def test_colour_statistics_are_mean_and_deviation_of_each_channel():
    cells = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    cells[0, 0] = (10, 20, 30)
    np.testing.assert_allclose(colour_statistics(cells), [[5, 10, 15, 5, 10, 15]])


def test_nearest_neighbour_weighs_features_alike_whatever_their_scale():
    train = np.array([[0, 0], [0, 1], [1000, 0], [1000, 1]], dtype=np.float32)
    labels = np.array([0, 1, 0, 1])
    assert nearest_neighbour(train, labels, np.array([[400, 0.9]], dtype=np.float32)).tolist() == [1]


def test_probe_reads_what_is_written_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    features = rng.normal(size=(180, 10)).astype(np.float32)
    told = features.copy()
    told[:, 4] += 12 * labels
    train, asked = np.arange(0, 180, 2), np.arange(1, 180, 2)
    assert probe(told[train], labels[train], told[asked], labels[asked]) > 0.9
    assert probe(features[train], labels[train], features[asked], labels[asked]) < 0.6
