"""No key, token, session or password gets into a log or an answer that it is not for."""

import logging
from typing import Any

import pytest
from controllers import PlayedWorker, RunningController, session_name
from scenarios import add_trial
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from paploss.controller.store.access.sign_ins import create_code
from paploss.controller.store.database import Database, table_of
from paploss.controller.store.tables import Attempt


def test_no_secret_is_logged_whatever_is_done_with_it(
    controller: RunningController, worker: PlayedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [*controller.keys.values(), "paploss_wrong-guess"]
    trial_id = add_trial(controller.services.database)
    lease = worker.claim(trial_id)
    worker.renew(lease)
    worker.finish(lease)
    secrets.append(lease.token)
    with controller.services.database.write() as session:
        secrets.append(create_code(session, "viewer"))
    with controller.http() as http:
        http.headers["Origin"] = controller.url
        for secret in secrets:
            http.post("/sign-in", data={"key": secret, "code": secret})
            http.get("/api/v1/status", headers={"Authorization": f"Bearer {secret}"})
            http.get("/api/v1/experiments", params={"cursor": "\x00"}, headers={"Authorization": f"Bearer {secret}"})
        http.post("/sign-in", data={"key": controller.keys["admin"]})
        secrets.append(http.cookies[session_name(http)])
        http.get("/workers")
        http.post("/sign-out")
    with controller.client("admin") as admin:
        secrets.append(admin.create_key("lab", "viewer").key)
        secrets.append(admin.create_token("laptop").token)
        shown = [admin.get_trial(trial_id).model_dump_json(), *(key.model_dump_json() for key in admin.list_keys())]
        shown += [token.model_dump_json() for token in admin.list_tokens()]
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]  # the test's own
    told = "".join(f"{record.getMessage()} {vars(record)}" for record in ours)
    assert "succeeded" in told
    for secret in secrets:
        assert secret not in told
        assert not any(secret in text for text in shown)


def test_a_failed_statement_does_not_show_its_values(database: Database) -> None:
    values: dict[str, Any] = {"trial_id": "nothing", "number": 1, "claim_id": "c", "token": "the-token"}
    with pytest.raises(IntegrityError) as failure, database.write() as session:
        session.execute(insert(table_of(Attempt)), values | {"worker": "w", "host": "", "device": ""})
    assert "the-token" not in str(failure.value)
