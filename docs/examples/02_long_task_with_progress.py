"""A long task that reports progress, and a program that watches it.

Prints:

    Reading: table 1 of 3
    Reading: table 2 of 3
    Reading: table 3 of 3
    100 % {'rows': 3000}
"""

import time

from jobfleet import Job, ProgressCallback, enqueue, get_job_manager, poll


def read_tables(tables: int, progress_callback: ProgressCallback) -> int:
    rows = 0
    for number in range(tables):
        progress_callback(number / tables, f"Reading: table {number + 1} of {tables}", {"rows": rows})
        time.sleep(1.0)
        rows += 1000
    progress_callback(1.0, "Done", {"rows": rows})
    return rows


if __name__ == "__main__":
    manager = get_job_manager()
    manager.start(workers=2)
    job_id = enqueue(Job(name="Read", function=read_tables, args=(3,), user="ann"))

    shown = ""
    while not (job := poll(job_id)).status.is_final:
        if job.progress_message not in {shown, "", "Done"}:
            shown = job.progress_message
            print(shown)
        time.sleep(0.02)
    print(f"{job.progress:.0%}".replace("%", " %"), job.progress_details)

    manager.shutdown(timeout=10)
