"""A node's part for a release's controllers: each scheduled pod becomes a process, behind a played Service."""

import contextlib
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
from clusters import Namespace, image_tag, ready
from servers import free_port
from stack import Stack


class Service:
    """Passes each connection on to one of the controllers that are ready, in turn, at the address of a stack."""

    def __init__(self, port: int) -> None:
        self.ready: dict[str, int] = {}
        """Ports by the names of pods."""
        self._turn = 0
        self._lock = threading.Lock()
        service = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), service._connect() as upstream:
                    back = threading.Thread(target=_pump, args=(upstream, self.request))
                    back.start()
                    _pump(self.request, upstream)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _connect(self) -> socket.socket:
        with self._lock:
            ports = list(self.ready.values())
            self._turn += 1
        if not ports:
            raise ConnectionRefusedError("no controller is ready")
        return socket.create_connection(("127.0.0.1", ports[self._turn % len(ports)]))


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class PlayedControllers:
    """Runs the controllers and the migration of a release, each with the code that its image stands for.

    As under a kubelet, a pod counts as ready once its `/readyz` does. One that is deleted leaves the Service, runs its
    preStop hook if it has one, is told to end, and goes when it has.
    """

    def __init__(self, namespace: Namespace, stack: Stack, service: Service, earlier: Mapping[str, str]) -> None:
        """`earlier`: folders of earlier versions' code, by the tag of their image."""
        self._namespace = namespace
        self._stack = stack
        self._service = service
        self._earlier = earlier
        self._ports: dict[str, int] = {}
        self._ends_at: dict[str, float] = {}
        self._migration: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Start, end and report whatever there is to; call it often."""
        for pod in self._pods("controller"):
            name = pod.metadata.name
            process = self._stack.replicas.get(name)
            if process is None:
                if pod.spec.node_name and not pod.metadata.deletion_timestamp:
                    self._start(pod)
            elif pod.metadata.deletion_timestamp:
                self._end(pod, process)
            elif name not in self._service.ready and self._is_ready(name, process):
                self._namespace.set_pod_status(pod, phase="Running", conditions=[ready()])
                self._service.ready[name] = self._ports[name]
        for pod in self._pods("migrate"):
            self._migrate(pod)

    def tags(self) -> set[str]:
        """The versions of the controllers that are ready."""
        pods = self._pods("controller")
        return {image_tag(pod) for pod in pods if pod.metadata.name in self._service.ready}

    def _pods(self, component: str) -> list[Any]:
        selector = f"app.kubernetes.io/component={component}"
        found: Any = self._namespace.core.list_namespaced_pod(self._namespace.name, label_selector=selector)
        return list(found.items)

    def _start(self, pod: Any) -> None:
        name, folder = pod.metadata.name, self._stack.logs.parent / pod.metadata.name
        folder.mkdir()
        settings = {"KUBECONFIG": str(self._namespace.write_access("demo-controller", folder / "kubeconfig"))}
        for volume in pod.spec.volumes:
            if volume.name == "pools":
                described: Any = self._namespace.core.read_namespaced_config_map(
                    volume.config_map.name, self._namespace.name
                )
                (folder / "pools.yaml").write_text(described.data["pools.yaml"])
                settings["PAPLOSS_WORKER_POOLS_FILE"] = str(folder / "pools.yaml")
        self._ports[name] = free_port()
        earlier = self._earlier.get(image_tag(pod))
        if earlier is None:
            self._stack.start_replica(name, self._ports[name], **settings)
        else:
            module = ("controller.cli", "serve")
            self._stack.start_replica(name, self._ports[name], module, PYTHONPATH=earlier, **settings)

    def _is_ready(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self._stack.log(name)
        try:
            return httpx.get(f"http://127.0.0.1:{self._ports[name]}/readyz", timeout=10).is_success
        except httpx.TransportError:
            return False

    def _end(self, pod: Any, process: subprocess.Popen[bytes]) -> None:
        name = pod.metadata.name
        self._service.ready.pop(name, None)
        if name not in self._ends_at:
            lifecycle = pod.spec.containers[0].lifecycle
            hook = lifecycle.pre_stop._exec.command if lifecycle and lifecycle.pre_stop else ["sleep", "0"]
            assert hook[0] == "sleep"
            self._ends_at[name] = time.monotonic() + float(hook[1])
        elif self._ends_at[name] < time.monotonic():
            self._ends_at[name] = float("inf")
            process.terminate()
        elif process.poll() is not None:
            self._namespace.remove(pod)

    def _migrate(self, pod: Any) -> None:
        if self._migration is None and pod.status.phase == "Pending" and pod.spec.node_name:
            assert image_tag(pod) not in self._earlier
            command = [sys.executable, "-m", "paploss.cli", *pod.spec.containers[0].args]
            self._migration = subprocess.Popen(command, env=self._stack.environment, cwd=Path(__file__).parents[1])
        elif self._migration is not None and (status := self._migration.poll()) is not None:
            assert status == 0
            if pod.status.phase == "Pending":
                self._namespace.set_pod_status(pod, phase="Succeeded")


class Visits:
    """Asks for pages and the API without a pause, each time over a new connection; keeps what was answered."""

    def __init__(self, stack: Stack, *paths: str) -> None:
        self.answers: dict[str, set[int]] = {path: set() for path in paths}
        self.count = 0
        self._stack = stack
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        # As a browser: a connection that was closed before any answer is made anew. Version 0.1.0 has no preStop hook.
        headers = {"Authorization": f"Bearer {self._stack.admin_key}"}
        while not self._ended.wait(0.05):
            for path, statuses in self.answers.items():
                with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                    answer = httpx.get(f"{self._stack.url}{path}", headers=headers, timeout=60)
                    statuses.add(answer.status_code)
                    self.count += 1
