"""Events in coroutines."""

import asyncio
import gc
import threading
import time

import pytest
from conftest import until
from test_events import UPDATED, the_tree, told

import treecache
from treecache import Client, TreeEvent


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def test_a_coroutine_takes_events(zk, cache, root):
    async def main():
        events = []
        async for event in cache.events():
            events.append(told(event))
            if event.event_type == TreeEvent.INITIALIZED:
                zk.set(f"{root}/a", b"new")
            if event.event_type == UPDATED:
                return events

    assert run(main()) == [*the_tree(root), (UPDATED, f"{root}/a", b"new")]


def test_no_thread_is_made(cache):
    async def main():
        before = threading.enumerate()
        with cache.events() as stream:
            reader = asyncio.ensure_future(drain(stream))
            await asyncio.sleep(0.1)
            assert threading.enumerate() == before
        await reader

    run(main())


async def drain(stream):
    return [event async for event in stream]


def test_others_run_while_one_waits_and_while_one_takes_many(zk, client, root):
    change = zk.transaction()
    for number in range(1000):
        change.create(f"{root}/b/{number}", b"")
    change.commit()

    async def main():
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.ensure_future(count())
        await asyncio.sleep(0)
        begin = turns
        with cache.events() as stream:
            async for event in stream:
                if event.event_type == TreeEvent.INITIALIZED:
                    break
        taking = turns - begin
        counter.cancel()
        return taking

    with client.cache(root) as cache:
        cache.wait_initialized(timeout=30)
        assert run(main()) >= 5


def test_cancelling_loses_nothing(zk, cache, root):
    async def main():
        with cache.events() as stream:
            async for event in stream:
                if event.event_type == TreeEvent.INITIALIZED:
                    break
            for _ in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    while told(await asyncio.wait_for(stream.__anext__(), 0.01)) == (TreeEvent.IN_STEP,):
                        pass
            for number in range(20):
                task = asyncio.ensure_future(stream.__anext__())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not asyncio.get_running_loop().remove_reader(stream.fileno()), "still waited for"
                zk.set(f"{root}/a", str(number).encode())
                event = await stream.__anext__()
                assert told(event) == (UPDATED, f"{root}/a", str(number).encode())

    run(main())


def test_a_timeout_ends_the_wait_and_not_the_stream(zk, cache, root):
    async def main():
        with cache.events(timeout=0.2) as stream:
            with pytest.raises(treecache.TimeoutError):
                async for _event in stream:
                    pass
            zk.set(f"{root}/a", b"new")
            assert told(await stream.__anext__()) == (UPDATED, f"{root}/a", b"new")

    run(main())


def test_what_has_come_while_the_loop_was_busy_is_in_time(zk, cache, root):
    async def main():
        with cache.events(timeout=0.2) as stream:
            for _ in the_tree(root):
                await stream.__anext__()
            waiting = asyncio.ensure_future(stream.__anext__())
            await asyncio.sleep(0)
            zk.set(f"{root}/a", b"new")
            until(lambda: cache.get_data(f"{root}/a").data == b"new")
            time.sleep(0.4)
            assert told(await waiting) == (UPDATED, f"{root}/a", b"new")

    run(main())


@pytest.mark.parametrize("what", ["stream", "cache", "client"])
@pytest.mark.parametrize("from_thread", [False, True])
def test_closing_ends_the_loop(what, from_thread):
    client = Client("127.0.0.1:1")
    cache = client.cache("/a")
    cache.start()
    stream = cache.events()
    closing = {"stream": stream, "cache": cache, "client": client}[what].close

    async def main():
        taking = asyncio.ensure_future(drain(stream))
        await asyncio.sleep(0.05)
        if from_thread:
            await asyncio.get_running_loop().run_in_executor(None, closing)
        else:
            closing()
        return [event.event_type for event in await taking]

    assert run(main()) == ([TreeEvent.CONNECTION_LOST] if what == "client" else [])
    stream.close()
    cache.close()
    client.close()


def test_a_limit_is_raised(client, root):
    async def main():
        with client.cache(root, {"limit.nodes": 1}) as cache:
            with pytest.raises(treecache.LimitError):
                await drain(cache.events())

    run(main())


def test_only_one_coroutine_waits_for_a_stream(cache):
    async def main():
        with cache.events() as stream:
            first = asyncio.ensure_future(drain(stream))
            await asyncio.sleep(0.1)
            with pytest.raises(RuntimeError, match="already waiting"):
                await drain(stream)
        await first

    run(main())


def test_two_streams_of_one_cache(cache, root):
    async def main():
        async def take():
            events = []
            async for event in cache.events():
                events.append(told(event))
                if event.event_type == TreeEvent.INITIALIZED:
                    return events

        return await asyncio.gather(take(), take())

    assert run(main()) == [the_tree(root)] * 2


def test_a_loop_that_ends_early_leaves_nothing_behind(cache):
    async def main():
        asyncio.ensure_future(drain(cache.events()))
        await asyncio.sleep(0.05)

    run(main())  # cancels the task
    gc.collect()
    with cache.events() as stream:
        assert stream.get(timeout=30)


def test_a_coroutine_waits_for_a_cache_to_be_ready(client, root):
    async def main():
        cache = client.cache(root)
        with pytest.raises(treecache.StateError, match="not started"):
            await cache.ready(30)
        with cache:
            await cache.ready(30)
            assert cache.get_data(f"{root}/a").data == b"1"
            await cache.ready(0)
            cache.wait_initialized(30)  # has nothing to wait for
        with pytest.raises(treecache.ClosedError):
            await cache.ready(30)

    run(main())


def test_readiness_that_does_not_come_says_why():
    async def main():
        with Client("127.0.0.1:1") as nowhere:
            with nowhere.cache("/a") as cache:
                until(lambda: cache.stats().faults > 0)
                with pytest.raises(TimeoutError, match=r"/a: timed out after 0.5 s; last: 127\.0\.0\.1:1: "):
                    await cache.ready(0.5)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(cache.ready(), 0.1)
                waiting = asyncio.ensure_future(cache.ready())
                await asyncio.sleep(0.05)
            with pytest.raises(treecache.ClosedError):
                await waiting
            with nowhere.cache("/a") as cache:
                waiting = asyncio.ensure_future(cache.ready())
                await asyncio.sleep(0.05)
                await asyncio.get_running_loop().run_in_executor(None, nowhere.close)
                with pytest.raises(treecache.ClosedError):
                    await waiting

    run(main())


def test_readiness_that_cannot_come_says_why(client, root):
    async def main():
        with client.cache(root, {"limit.nodes": 1}) as cache:
            with pytest.raises(treecache.LimitError, match="; last: "):
                await cache.ready(30)

    run(main())


def test_readiness_says_why_if_the_cache_stops_between_two_questions(client, root, monkeypatch):
    async def main():
        with client.cache(root, {"limit.nodes": 1}) as cache:
            while cache.state is not treecache.State.CLOSED:
                await asyncio.sleep(0.01)
            asked = cache._wait
            early = iter([treecache.TimeoutError("not yet"), treecache.TimeoutError("nor now")])

            def wait(*arguments):
                for error in early:
                    raise error
                return asked(*arguments)

            monkeypatch.setattr(cache, "_wait", wait)
            with pytest.raises(treecache.LimitError, match="; last: "):
                await cache.ready(30)

    run(main())


def test_a_wait_that_would_block_the_event_loop_says_so(cache):
    async def main():
        with Client("127.0.0.1:1") as nowhere, nowhere.cache("/a") as vain:
            for wait in (
                lambda: vain.wait_initialized(30),
                lambda: vain.sync(30),
                lambda: vain.events().get(30),
                lambda: next(vain.events()),
            ):
                with pytest.raises(treecache.WouldDeadlockError, match="event loop"):
                    wait()
            with pytest.raises(treecache.WouldDeadlockError, match=r"await cache\.ready"):
                vain.wait_initialized()
            with pytest.raises(TimeoutError):
                vain.events().get(0)
            await asyncio.get_running_loop().run_in_executor(None, cache.sync, 30)

    run(main())
