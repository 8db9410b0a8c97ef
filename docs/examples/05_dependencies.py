"""Jobs that wait for others: a diamond of four. The last one reads what the ones before it have returned.

Prints:

    report: blocked
    report: completed, 30
    in the order: load, double, triple, report
"""

from jobfleet import Job, JobContext, get_job_manager, job


@job(name="load")
def load() -> int:
    return 6


@job(name="times")
def times(ctx: JobContext, factor: int) -> int:
    (loaded,) = ctx.parents.values()
    return int(loaded.result or 0) * factor


@job(name="report")
def report(ctx: JobContext) -> int:
    return sum(int(parent.result or 0) for parent in ctx.parents.values())


if __name__ == "__main__":
    manager = get_job_manager()

    first = manager.enqueue(Job(name="load", function=load))
    double = manager.enqueue(Job(name="double", function=times, args=(2,), depends_on=[first]))
    triple = manager.enqueue(Job(name="triple", function=times, args=(3,), depends_on=[first]))
    last = manager.enqueue(Job(name="report", function=report, depends_on=[double, triple]))
    print("report:", manager.poll(last).status.value)

    manager.start(workers=1)
    done = manager.wait(last, timeout=30)
    print(f"report: {done.status.value}, {done.result}")
    ended = [manager.poll(job_id) for job_id in (last, triple, double, first)]
    ended.sort(key=lambda one: (one.completed_at is None, one.completed_at))
    print("in the order:", ", ".join(one.name for one in ended))

    manager.shutdown(timeout=10)
