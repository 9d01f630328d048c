from paploss.controller.experiments.seeds import confirm_seed, proxy_seed


def test_seeds_are_fixed_distinct_and_fit_a_job() -> None:
    seeds = {proxy_seed(0, number) for number in range(50)} | {confirm_seed(0, index) for index in range(50)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert proxy_seed(0, 1) == proxy_seed(0, 1) != proxy_seed(1, 1)
