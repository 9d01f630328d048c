"""What each pod of the chart may do in the cluster, and which secrets it gets."""

import base64
from pathlib import Path
from typing import Any

import pytest
from charts import (
    CASES,
    REDIS_CONFIGURATION,
    controllers_environment,
    objects_of,
    pod_specs,
    read_values,
    render,
    start_redis,
)


def test_workers_get_no_rights_and_the_controller_those_on_jobs_and_pods() -> None:
    (role,) = (found for found in objects_of("Role", {}) if found["metadata"]["name"] == "demo-controller")
    assert {(kind, verb) for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]} == {
        ("jobs", "list"),
        ("jobs", "create"),
        ("jobs", "delete"),
        ("pods", "list"),
        ("pods", "delete"),
        ("events", "list"),
        ("configmaps", "get"),
    }
    bindings = {found["metadata"]["name"]: found["subjects"] for found in objects_of("RoleBinding", {})}
    assert [subject["name"] for subject in bindings["demo-controller"]] == ["demo-controller"]
    assert [found["metadata"]["name"] for found in objects_of("Role", CASES["static"])] == ["demo-test"]


def test_the_tests_pod_may_do_to_itself_what_setting_its_owner_takes_and_nothing_to_others() -> None:
    """Where OwnerReferencesPermissionEnforcement is on, as on OpenShift, that takes the right to delete it."""
    (role,) = (found for found in objects_of("Role", {}) if found["metadata"]["name"] == "demo-test")
    rights = {
        (kind, name, verb)
        for rule in role["rules"]
        for kind in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    assert rights == {
        ("pods", "", "list"),
        ("events", "", "list"),
        ("configmaps", "demo-test", "get"),
        ("pods", "demo-test", "patch"),
        ("pods", "demo-test", "delete"),
    }


def test_search_resources_add_the_rights_to_list_and_patch_them_in_the_releases_namespace() -> None:
    values = CASES["static"] | {"searchResources": {"enabled": True}}
    (role,) = (found for found in objects_of("Role", values) if found["metadata"]["name"] == "demo-controller")
    assert {(tuple(rule["apiGroups"]), *rule["resources"], *rule["verbs"]) for rule in role["rules"]} == {
        (("paploss.dev",), "searches", "list", "patch"),
        (("paploss.dev",), "searches/status", "patch"),
    }
    assert not objects_of("ClusterRole", values)
    assert controllers_environment(values)["PAPLOSS_SEARCH_RESOURCES_NAMESPACE"] == "ml"
    assert dict(pod_specs(render(values)))["demo"]["automountServiceAccountToken"]
    assert not dict(pod_specs(render(CASES["static"])))["demo"]["automountServiceAccountToken"]


def test_with_secrets_of_the_operator_none_is_generated() -> None:
    values = read_values("cloud-spot") | {"keys": {"existingSecret": "keys"}}
    assert not objects_of("Secret", values)
    assert not objects_of("StatefulSet", values)


def test_passwords_of_the_included_servers_may_be_the_operators() -> None:
    values = read_values("air-gapped")
    assert not objects_of("Secret", values)
    assert secret_files(values, "demo-postgresql")["password"] == ("paploss-database", "database-password", False)
    assert secret_files(values, "demo-redis")["password"] == ("paploss-redis", "redis-password", False)
    of_controller = secret_files(values, "demo")
    assert of_controller["paploss_database_url"][:2] == ("paploss-database", "database-url")
    assert of_controller["paploss_redis_url"][:2] == ("paploss-redis", "redis-url")


def test_the_databases_address_is_one_that_pg_dump_takes() -> None:
    (secret,) = objects_of("Secret", {})
    address = base64.b64decode(secret["data"]["database-url"]).decode()
    password = base64.b64decode(secret["data"]["database-password"]).decode()
    assert address == f"postgresql://paploss:{password}@demo-postgresql:5432/paploss"


def test_redis_takes_the_place_of_its_shell_and_gets_its_password(tmp_path: Path) -> None:
    *shell, script = dict(pod_specs(render({})))["demo-redis"]["containers"][0]["command"]
    (tmp_path / "password").write_text("secret")
    script = script.replace("/run/secrets/paploss/password", str(tmp_path / "password"))
    assert start_redis([*shell, script], tmp_path) == REDIS_CONFIGURATION


def test_prometheus_has_a_viewers_key_that_the_controller_installs() -> None:
    (monitor,) = objects_of("ServiceMonitor", CASES["everything"])
    (endpoint,) = monitor["spec"]["endpoints"]
    credentials = endpoint["authorization"]["credentials"]
    assert (endpoint["port"], endpoint["path"], credentials["key"]) == ("http", "/metrics", "viewer-key")
    assert secret_files(CASES["everything"], "demo")["paploss_viewer_key"] == (credentials["name"], "viewer-key", False)
    assert "paploss_viewer_key" not in secret_files({"keys": {"existingSecret": "mine"}}, "demo")


@pytest.mark.parametrize(
    ("values", "targets", "volumes"),
    [
        ({"mlflow": "https://mlflow.example.org"}, ["--mlflow=https://mlflow.example.org"], {"tmp", "secrets"}),
        ({"tensorboard": {"existingClaim": "runs"}}, ["--tensorboard=/runs"], {"tmp", "secrets", "runs"}),
    ],
)
def test_the_mirror_is_one_pod_that_has_the_viewers_key_alone(
    values: dict[str, Any], targets: list[str], volumes: set[str]
) -> None:
    objects = render(
        {"mirror": values | {"existingSecret": "mlflow"}, "networkPolicy": {"from": [{"podSelector": {}}]}}
    )
    (mirror,) = [
        found for found in objects if found["kind"] == "Deployment" and found["metadata"]["name"] == "demo-mirror"
    ]
    assert (mirror["spec"]["replicas"], mirror["spec"]["strategy"]) == (1, {"type": "Recreate"})
    spec = mirror["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    key = "/run/secrets/paploss/paploss_viewer_key"
    assert container["args"] == ["mirror", "--follow", "--url=http://demo:8080", f"--key-file={key}", *targets]
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow"}}]
    assert {volume["name"] for volume in spec["volumes"]} == volumes
    (secrets,) = [volume["projected"]["sources"] for volume in spec["volumes"] if "projected" in volume]
    assert [source["secret"]["items"] for source in secrets] == [[{"key": "viewer-key", "path": "paploss_viewer_key"}]]
    assert spec["automountServiceAccountToken"] is False
    labels = mirror["spec"]["template"]["metadata"]["labels"]
    policies = {found["metadata"]["name"]: found["spec"] for found in objects if found["kind"] == "NetworkPolicy"}
    assert "ingress" not in policies["demo-mirror"]
    admitted = [
        peer["podSelector"].get("matchLabels", {}) for peer in policies["demo-controller"]["ingress"][0]["from"]
    ]
    assert any(wanted and wanted.items() <= labels.items() for wanted in admitted)


def test_the_test_pod_starts_without_secrets_so_that_it_can_name_them() -> None:
    of_test, of_controller = (secret_files({}, holder) for holder in ("demo-test", "demo"))
    for file in ("paploss_admin_key", "paploss_database_url", "paploss_redis_url"):
        assert of_test[file] == (*of_controller[file][:2], True)
        assert not of_controller[file][2]


def test_keys_may_be_called_otherwise_in_secrets_of_the_operator() -> None:
    values = read_values("cloud-spot") | {
        "keys": {"existingSecret": "keys", "names": {"admin": "root", "worker": "gpu"}},
        "database": {"existingSecret": "cnpg-app", "existingSecretKey": "uri", "included": {"enabled": False}},
        "redis": {"existingSecret": "valkey", "existingSecretKey": "url", "included": {"enabled": False}},
    }
    for holder in ("demo", "demo-test"):
        files = secret_files(values, holder)
        assert files["paploss_database_url"][:2] == ("cnpg-app", "uri")
        assert files["paploss_redis_url"][:2] == ("valkey", "url")
        assert files["paploss_admin_key"][:2] == ("keys", "root")
    assert secret_files(values, "spot")["paploss_key"][:2] == ("keys", "gpu")
    assert secret_files(values, "spot")["paploss_redis_url"][:2] == ("valkey", "url")
    assert secret_files(values, "demo-migrate")["paploss_database_url"][:2] == ("cnpg-app", "uri")


def test_the_migration_has_the_controllers_account() -> None:
    specs = dict(pod_specs(render({})))
    assert specs["demo-migrate"]["serviceAccountName"] == specs["demo"]["serviceAccountName"]


def secret_files(values: dict[str, Any], holder: str) -> dict[str, tuple[str, str, bool]]:
    """Secret, key, and whether the pod can do without it, by file in the folder of secrets."""
    spec = dict(pod_specs(render(values)))[holder]
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "secrets")
    return {
        item["path"]: (source["secret"]["name"], item["key"], source["secret"].get("optional", False))
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
