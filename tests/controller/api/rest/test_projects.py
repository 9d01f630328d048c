"""Projects over HTTP; what a key of one sees of another's is in `security/test_projects.py`."""

from controllers import RunningController, count_selects

from paploss.client.projects import ProjectRequest


def test_the_list_asks_as_much_however_many_projects_there_are(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        with count_selects(controller) as asked_of_one:
            assert len(admin.list_projects()) == 1
        for number in range(5):
            admin.create_project(ProjectRequest(name=f"lab-{number}"))
        with count_selects(controller) as asked_of_six:
            assert len(admin.list_projects()) == 6
    assert len(asked_of_six) == len(asked_of_one) > 0
