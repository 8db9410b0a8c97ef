# Made by scripts/unasync from jobfleet/client/_async/fleet_verbs.py. Change that, and run scripts/unasync.
# Made by scripts/unasync from the verbs in jobfleet/operations. Change those, and run scripts/unasync.
"""Verbs of operators: `jobfleet.operations` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.client._sync.audit import Audit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Unpack

    from jobfleet.model import Priority
    from jobfleet.model.option_types import Durability, Seconds
    from jobfleet.model.status import PriorityName
    from jobfleet.operations.dead_letters import DeadFilters
    from jobfleet.operations.doctor.doctor import Repair
    from jobfleet.operations.jobs.matching import JobFilters
    from jobfleet.operations.workers import ChildStacks, Confirmation


class FleetVerbs(Audit):
    """The verbs of `fleet`."""

    def resolve(self, fingerprint: str, *, by: str | None = None) -> bool:
        """Declare the cause of a group of dead letters removed.

        The letters stay. A job that fails with the same error after this is reported once.

        Args:
            fingerprint: The group.
            by: The person or program that does it, for the record.

        Returns:
            False if it was resolved before.

        Raises:
            UnknownGroup: There is no such group.
            InvalidJob: The text is not a fingerprint.
        """
        from jobfleet.operations import dead_groups

        return self._act(dead_groups.resolve, by, fingerprint, by=by)

    def ignore(self, fingerprint: str, *, by: str | None = None) -> bool:
        """Send no more notifications about a group of dead letters.

        Args:
            fingerprint: The group.
            by: The person or program that does it, for the record.

        Returns:
            False if it was ignored before.

        Raises:
            UnknownGroup: There is no such group.
            InvalidJob: The text is not a fingerprint.
        """
        from jobfleet.operations import dead_groups

        return self._act(dead_groups.ignore, by, fingerprint, by=by)

    def reopen(self, fingerprint: str, *, by: str | None = None) -> bool:
        """Undo 'resolve' or 'ignore': the group of dead letters is known.

        Args:
            fingerprint: The group.
            by: The person or program that does it, for the record.

        Returns:
            False if it was known before.

        Raises:
            UnknownGroup: There is no such group.
            InvalidJob: The text is not a fingerprint.
        """
        from jobfleet.operations import dead_groups

        return self._act(dead_groups.reopen, by, fingerprint, by=by)

    def replay_many(
        self, queue: str | None = None, *, fresh: bool = False, by: str | None = None, **filters: Unpack[DeadFilters]
    ) -> int:
        """Put the dead jobs that match all filters back into their queues.

        A job that fails again meanwhile is not replayed a second time.

        Args:
            queue: Only letters of this queue.
            fresh: Repeat the completed steps, too.
            filters: Which letters; see `DeadFilters`.
            by: The person or program that does it, for the record.

        Returns:
            How many were replayed.

        Raises:
            ConfigError: The queue does not exist.
            InvalidJob: A filter has a wrong value.
        """
        from jobfleet.operations import dead_letters

        return self._act(dead_letters.replay_many, by, queue, fresh=fresh, by=by, **filters)

    def purge(self, job_id: str, *, by: str | None = None) -> bool:
        """Delete a dead letter for good.

        Args:
            job_id: The id of the job.
            by: The person or program that does it, for the record.

        Returns:
            False if it has none.

        Raises:
            JobNotFound: `job_id` is not a job id.
        """
        from jobfleet.operations import dead_letters

        return self._act(dead_letters.purge, by, job_id)

    def replay(
        self,
        job_id: str,
        *,
        fresh: bool = False,
        by: str | None = None,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
    ) -> bool:
        """Put a dead job back into its queue, with its history and its completed steps.

        Args:
            job_id: The id of the job.
            fresh: Repeat the completed steps, too.
            args: All positional arguments, in JSON a list; default the original ones.
            kwargs: All named arguments, in JSON an object; default the original ones.
            by: The person or program that does it, for the record.

        Returns:
            False if it is open, or was completed since.

        Raises:
            JobNotFound: The job has no dead letter.
            DuplicateJob: Another job holds its unique key.
            EncodingError: An argument cannot travel, or the envelope cannot be read.
        """
        from jobfleet.operations import dead_letters

        return self._act(dead_letters.replay, by, job_id, fresh=fresh, by=by, args=args, kwargs=kwargs)

    def repair(self, *, dry_run: bool = False, by: str | None = None) -> list[Repair]:
        """Repair contradictions in the data that the doctor finds and that are safe to repair while the fleet runs.

        Args:
            dry_run: Only look for them.
            by: The person or program that does it, for the record.
        """
        from jobfleet.operations.doctor import doctor

        return self._act(doctor.repair, by, dry_run=dry_run)

    def edit(
        self,
        job_id: str,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        by: str | None = None,
    ) -> bool:
        """Change the arguments of a waiting job.

        Everything else stays: options, tags, due time, used retries, completed steps, and the unique key. A dead letter is
        replayed with other arguments.

        Args:
            job_id: The id of the job.
            args: All positional arguments, in JSON a list; default the present ones.
            kwargs: All named arguments, in JSON an object; default the present ones.
            by: The person or program that does it, for the record.

        Returns:
            False if it runs or has ended; nothing is changed then.

        Raises:
            JobNotFound: The job is not known.
            InvalidJob: Neither is given, or the function, if this process knows it, does not accept the arguments.
            EncodingError: An argument cannot travel, or the envelope cannot be read or is not accepted.
            PayloadLost, PayloadUnavailable: The payload store does not have the arguments that are kept, or is away.
        """
        from jobfleet.operations.jobs import edit

        return self._act(edit.edit, by, job_id, args, kwargs, by=by)

    def clean(self, older_than: Seconds, queue: str | None = None, *, by: str | None = None) -> int:
        """Delete the results of jobs that ended longer ago than a time.

        Results expire by themselves after their TTL; this deletes them sooner. The id of a job stays known as long as its
        enqueue may be repeated (the settings dedupe_window and own_id_window). Dead letters stay until they are purged.

        Args:
            older_than: The age of the results: seconds, or a text such as 7d.
            queue: The queue; by default all.
            by: The person or program that does it, for the record.

        Returns:
            How many there were.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: `older_than` is not a duration.
        """
        from jobfleet.operations.jobs import listing

        return self._act(listing.clean, by, older_than, queue)

    def cancel_many(self, *, by: str | None = None, **filters: Unpack[JobFilters]) -> int:
        """Cancel the open jobs that match all filters: waiting jobs end, and running ones are asked to stop.

        With tags or a free text, such as `user`, only their index is read; otherwise every open job is, in bounded batches.

        Args:
            filters: Which jobs; see `JobFilters`.
            by: The person or program that does it, for the record.

        Returns:
            How many were cancelled or asked to stop.

        Raises:
            ConfigError: No filter is given, or the queue does not exist.
            InvalidJob: A filter has a wrong value.
        """
        from jobfleet.operations.jobs import matching

        return self._act(matching.cancel_many, by, by=by, **filters)

    def signal(self, job_id: str, name: str, value: object = None, *, by: str | None = None) -> bool:
        """Send a signal to a job that waits for it, or will: `ctx.wait_for` returns the value.

        The first signal of a name wins. It has the durability of the queue, else of the fleet.

        Args:
            job_id: The id of the job.
            name: The name of the signal.
            value: What `ctx.wait_for` returns.
            by: The person or program that does it, for the record.

        Returns:
            False if the job has ended, or another signal of this name came first.

        Raises:
            JobNotFound: The job is not known.
            InvalidJob: The name is wrong, or the job keeps too much already.
            EncodingError: The value cannot be encoded.
            DurabilityUnavailable: The server cannot provide that durability; nothing was sent.
            DurabilityUncertain: It was sent, and not confirmed; send it again.
        """
        from jobfleet.operations.jobs import signal

        return self._act(signal.signal, by, job_id, name, value, by=by)

    def reschedule(
        self,
        job_id: str,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | PriorityName | None = None,
        by: str | None = None,
    ) -> bool:
        """Change the due time, the priority, or both, of a waiting job.

        Args:
            job_id: The id of the job.
            at: The new due time.
            delay: The new due time, counted from now; 0 for at once.
            priority: The new priority.
            by: The person or program that does it, for the record.

        Returns:
            False if it runs or has ended.

        Raises:
            JobNotFound: The job is not known.
            InvalidJob: No change is given, or a value is wrong; or the job waits for others, so it has no due time yet.
        """
        from jobfleet.operations.jobs import steer

        return self._act(steer.reschedule, by, job_id, at=at, delay=delay, priority=priority, by=by)

    def reschedule_many(
        self,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | PriorityName | None = None,
        by: str | None = None,
        dry_run: bool = False,
        **filters: Unpack[JobFilters],
    ) -> int:
        """Change the due time, the priority, or both, of the waiting jobs that match all filters.

        With tags or a free text, such as `user`, only their index is read; otherwise every waiting job is, in bounded
        batches.

        Args:
            at: The new due time.
            delay: The new due time, counted from the start of the call; 0 for at once.
            priority: The new priority.
            dry_run: Only count the jobs.
            filters: Which jobs; see `JobFilters`.
            by: The person or program that does it, for the record.

        Returns:
            How many were rescheduled, or would be.

        Raises:
            ConfigError: No filter is given, or the queue does not exist.
            InvalidJob: No change is given, or a value is wrong.
        """
        from jobfleet.operations.jobs import steer

        return self._act(
            steer.reschedule_many, by, at=at, delay=delay, priority=priority, by=by, dry_run=dry_run, **filters
        )

    def move_many(self, to: str, *, by: str | None = None, dry_run: bool = False, **filters: Unpack[JobFilters]) -> int:
        """Move the waiting jobs that match all filters to another queue, as new jobs.

        Args:
            to: The new queue.
            dry_run: Only count the jobs.
            filters: Which jobs; see `JobFilters`.
            by: The person or program that does it, for the record.

        Returns:
            How many were moved, or would be.

        Raises:
            ConfigError: No filter is given, or the queue to move from does not exist.
            InvalidJob: A filter has a wrong value, or `to` is not a queue name.
        """
        from jobfleet.operations.jobs import steer

        return self._act(steer.move_many, by, to, by=by, dry_run=dry_run, **filters)

    def pause(
        self,
        queue: str | None = None,
        *,
        group: str | None = None,
        function: str | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Pause a queue, a group or a function: none of its jobs start.

        Running jobs continue. With a function, other functions of the queue are not affected.

        Args:
            queue: The queue; it is created if it does not exist.
            group: Only this group of the queue.
            function: Only jobs of this function; without a queue, in all queues.
            by: The person or program that pauses, for the record.
            reason: The reason, for the record: one line, at most 200 characters.

        Returns:
            False if it was already paused.

        Raises:
            ConfigError: Nothing is named, or what is named cannot be paused together; or too many are paused.
            InvalidJob: The name of the function or the group, or the reason, is not valid.
        """
        from jobfleet.operations import pause

        return self._act(pause.pause, by, queue, group=group, function=function, by=by, reason=reason)

    def resume(
        self, queue: str | None = None, *, group: str | None = None, function: str | None = None, by: str | None = None
    ) -> bool:
        """Resume a paused queue, group or function.

        Safe to repeat. If it is interrupted, a worker or a reaper completes it. The withheld jobs of a function go back to
        their old places.

        Args:
            queue: The queue. With a group or a function, only that one resumes in this queue.
            group: Only this group of the queue.
            function: Only jobs of this function; without a queue, in all queues.
            by: The person or program that does it, for the record.

        Returns:
            False if it was not paused.

        Raises:
            ConfigError: Nothing is named, what is named cannot be resumed together, or there is no such queue; or the
                function is paused in every queue, and a queue is named.
            InvalidJob: The name of the function or the group is not valid.
        """
        from jobfleet.operations import pause

        return self._act(pause.resume, by, queue, group=group, function=function)

    def set_durability(self, queue: str, durability: Durability | None, *, by: str | None = None) -> bool:
        """Set the durability of jobs of a queue that have none of their own, nor from their function.

        Producers apply it within five seconds. Jobs that are already in the queue keep their level.

        Args:
            queue: The queue; it is created if it does not exist.
            durability: The level: fast, replicated or fsync; 'none' (None) for that of the fleet.
            by: The person or program that does it, for the record.

        Returns:
            False if it was so before.

        Raises:
            ConfigError: The queue is new, and there are too many queues.
            InvalidJob: The level or the name of the queue is not valid.
        """
        from jobfleet.operations import queues

        return self._act(queues.set_durability, by, queue, durability)

    def purge_queue(self, queue: str, *, by: str | None = None) -> int:
        """Cancel every waiting job of a queue. Running jobs continue.

        Args:
            queue: The queue.
            by: The person or program that cancels, for the record.

        Returns:
            How many there were.

        Raises:
            ConfigError: There is no such queue.
        """
        from jobfleet.operations import queues

        return self._act(queues.purge_queue, by, queue, by=by)

    def remove_queue(self, queue: str, *, purge: bool = False, by: str | None = None, dry_run: bool = False) -> int:
        """Remove a queue that no worker serves and that has no open jobs, with its counts, limits and pauses.

        A queue with waiting jobs or dead letters is removed only with purge, one with running jobs never. Results stay
        until their TTL ends. A later enqueue creates the queue again.

        Args:
            queue: The queue.
            purge: Cancel its waiting jobs and delete its dead letters.
            by: The person or program that removes it, for the record.
            dry_run: Only check whether it can be removed.

        Returns:
            How many dead letters were deleted.

        Raises:
            ConfigError: There is no such queue; a worker serves it; jobs are open, or dead without `purge`; a cron
                entry puts jobs there; readers of its journal have not read all.
            InvalidJob: The name of the queue is not valid.
        """
        from jobfleet.operations import queues

        return self._act(queues.remove_queue, by, queue, purge=purge, by=by, dry_run=dry_run)

    def command_workers(
        self,
        ids: Sequence[str],
        command: str,
        *,
        processes: int | None = None,
        grace: Seconds | None = None,
        timeout: Seconds = 10.0,
        by: str | None = None,
    ) -> list[Confirmation]:
        """Send a command to workers, wait until their heartbeats confirm it, and return the state of each.

        Args:
            ids: The workers.
            command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
            processes: The number of children per worker, for ``scale``.
            grace: Seconds that running jobs may take to end, for ``stop``; default the setting of each worker.
            timeout: Seconds to wait. A worker may confirm later.
            by: The person or program that gives the command, for the record.

        Raises:
            ConfigError: There is no such command, or an argument is missing or wrong.
        """
        from jobfleet.operations import workers

        return self._act(
            workers.command_workers, by, ids, command, processes=processes, grace=grace, timeout=timeout, by=by
        )

    def child_stacks(self, child: str, *, timeout: Seconds = 10.0, by: str | None = None) -> ChildStacks:
        """Ask for the stacks of a child: of its threads and asyncio tasks, each with the job that it works for.

        A child whose event loop is blocked answers, too. A job in a process of its own shows only that the child waits
        for it.

        Args:
            child: The id of the child; `WorkerInfo.processes` has it, and a running job has it as `worker`.
            timeout: Seconds to wait for the answer.
            by: The person or program that asks, for the record.

        Returns:
            The stacks, or with `refusal` why there are none.

        Raises:
            ConfigError: An argument is wrong.
        """
        from jobfleet.operations import workers

        return self._act(workers.child_stacks, by, child, timeout=timeout, by=by)
