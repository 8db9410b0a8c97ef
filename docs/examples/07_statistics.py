"""Statistics: waiting and ended jobs by priority, queue, function and user; and the deletion of old results.

Prints:

    total 6: 3 completed, 1 failed, 1 cancelled, 1 waiting
    success rate: 75 %
    waiting: Later (scheduled, high)
    queue money: 1 of 1 failed
    function charge: 1 failed
    user ann: 2 completed
    deleted: 0
"""

from jobfleet import Job, Priority, get_job_manager, job


@job(name="add")
def add(x: int, y: int) -> int:
    return x + y


@job(name="charge", queue="money")
def charge(amount: int) -> None:
    raise ValueError(f"no account to take {amount} from")


if __name__ == "__main__":
    manager = get_job_manager()

    users = ("ann", "ann", "bob")
    ids = [manager.enqueue(Job(name="Add", function=add, args=(n, n), user=user)) for n, user in enumerate(users)]
    ids.append(manager.enqueue(Job(name="Charge", function=charge, args=(5,), user="bob")))
    manager.enqueue(Job(name="Later", function=add, args=(1, 1), delay=3600, priority=Priority.HIGH))
    manager.cancel(manager.enqueue(Job(name="Never", function=add, args=(1, 1), priority=Priority.LOW)))
    manager.start(workers=2)
    for job_id in ids:
        manager.wait(job_id, timeout=30)

    counts = manager.statistics()
    print(
        f"total {counts['total']}: {counts['completed']} completed, {counts['failed']} failed, "
        f"{counts['cancelled']} cancelled, {counts['queue_size']} waiting"
    )
    print(f"success rate: {counts['success_rate'] * 100:.0f} %")
    for waiting in manager.get_pending_jobs():
        urgency = next(name for name, count in counts["by_priority"].items() if count)
        print(f"waiting: {waiting.name} ({waiting.status.value}, {urgency})")
    money = counts["by_queue"]["money"]
    print(f"queue money: {money['failed']} of {money['total']} failed")
    print(f"function charge: {counts['by_function']['charge']['failed']} failed")
    print(f"user ann: {counts['by_user']['ann']['completed']} completed")
    print("deleted:", manager.cleanup_old_results(days=30))

    manager.shutdown(timeout=10)
