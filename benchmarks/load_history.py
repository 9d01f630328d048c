"""A month of searches that have ended, written in bulk: what a database has to carry beside the searches that run."""

from sqlalchemy import text

from paploss.controller.store.database import Database

TRIALS_PER_ROUND = 100
PODS = 10_000
"""Elastic workers have a new name each time that one starts."""
_FILL = (
    """
    INSERT INTO searches (id, kind, name, owner, state, stage, reason, spec, profile, gpus, priority, round,
        next_number, created_at, finished_at)
    SELECT 'past' || n, 'search', 'past', 'load-user', 'succeeded', 'confirm', '', CAST(:spec AS json), 'synthetic',
        0, 0, :trials / :per_round, :trials, 1.7e9 + n * 86400, 1.7e9 + (n + 1) * 86400
    FROM generate_series(1, :searches) n
    """,
    """
    INSERT INTO rounds (search_id, number, mu, sigma, proposed, mean_reward, best_reward, rewards, created_at,
        closed_at)
    SELECT 'past' || n, r, CAST(:theta AS json), 0.1, :per_round, 0.2, 0.3, :per_round, 1.7e9, 1.7e9
    FROM generate_series(1, :searches) n, generate_series(0, :trials / :per_round - 1) r
    """,
    """
    INSERT INTO trials (id, search_id, number, kind, label, round, index, consumed_round, theta, seed,
        learning_rate_factor, state, attempt, token, worker, failed_attempts, preemptions, iteration, reward, diverged,
        seconds, created_at, started_at, finished_at)
    SELECT 'past' || n || '-' || lpad(t::text, 6, '0'), 'past' || n, t, 'proxy', '', t / :per_round, t % :per_round,
        t / :per_round, CAST(:theta AS json), t / :per_round, 1.0, 'succeeded', 1, md5(n || '-' || t),
        'past-worker-' || t % 100, 0, 0, 1000, (t * 7919 % 1000) / 2500.0, false, 900, 1.7e9 + t, 1.7e9 + t,
        1.7e9 + n * 86400 + t
    FROM generate_series(1, :searches) n, generate_series(0, :trials - 1) t
    """,
    """
    INSERT INTO attempts (trial_id, number, claim_id, token, worker, host, device, environment, resumed_iteration,
        claimed_at, started_at, ended_at, outcome, answer, log_tail)
    SELECT id, 1, token, token, worker, 'past', 'simulated', CAST('{}' AS json), 0, created_at,
        started_at, finished_at, 'succeeded', 'succeeded', repeat('iteration of a training that ended ', 20)
    FROM trials WHERE search_id LIKE 'past%'
    """,
    """
    INSERT INTO evaluations (trial_id, iteration, total_iterations, ap, metrics, at)
    SELECT id, k * 250, 1000, reward, CAST(:metrics AS json), finished_at
    FROM trials, generate_series(1, 4) k WHERE search_id LIKE 'past%'
    """,
    """
    INSERT INTO workers (name, host, gpus, device, versions, first_seen_at, last_seen_at)
    SELECT 'past-pod-' || n, 'past', 1, 'simulated', CAST('{}' AS json), 1.7e9, 1.7e9
    FROM generate_series(1, :pods) n
    """,
    """
    INSERT INTO events (search_id, trial_id, kind, level, message, at)
    SELECT search_id, id, 'trial_succeeded', 'info', 'AP 20.0', finished_at FROM trials WHERE search_id LIKE 'past%'
    """,
)


def write_history(database: Database, *, searches: int, trials: int, spec: str, metrics: str) -> None:
    """Write so many searches with so many trials each into a PostgreSQL database. `spec`, `metrics`: JSON of each."""
    theta = "[" + ", ".join(["0.25"] * 41) + "]"
    given = {
        "searches": searches,
        "trials": trials,
        "per_round": TRIALS_PER_ROUND,
        "pods": PODS,
        "theta": theta,
        "spec": spec,
        "metrics": metrics,
    }
    with database.write() as session:
        for statement in _FILL:
            names = {name: value for name, value in given.items() if f":{name}" in statement}
            session.execute(text(statement), names)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))  # as autovacuum would have done in that month
