"""The difference of two playlists: applied to the old one it gives the new one, and it says no more than it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.strategies.playlist_diff import apply, diff

PLAYLISTS = st.lists(st.sampled_from("abcdefg"), max_size=30)


@given(PLAYLISTS, PLAYLISTS)
def test_applied_to_the_old_playlist_it_gives_the_new_one(old: list[str], new: list[str]) -> None:
    assert apply(diff(old, new), old) == new


@given(PLAYLISTS)
def test_a_playlist_differs_in_nothing_from_itself(playlist: list[str]) -> None:
    assert len(diff(playlist, playlist)) == 0


@given(st.permutations(range(12)), st.integers(0, 11), st.integers(0, 11))
def test_one_entry_that_was_moved_is_one_change(playlist: list[int], was: int, now: int) -> None:
    new = list(playlist)
    new.insert(now, new.pop(was))
    assert len(diff(playlist, new)) <= 1


@given(PLAYLISTS, PLAYLISTS)
def test_what_is_added_and_removed_is_what_the_counts_say(old: list[str], new: list[str]) -> None:
    found = diff(old, new)
    assert len(found.added) - len(found.removed) == len(new) - len(old)
    for entry in "abcdefg":
        assert sum(one.entry == entry for one in found.added) == max(0, new.count(entry) - old.count(entry))
        assert sum(one.entry == entry for one in found.removed) == max(0, old.count(entry) - new.count(entry))


@given(PLAYLISTS, PLAYLISTS, st.integers(0, 29))
def test_inserting_a_stretch_moves_nothing(old: list[str], more: list[str], at: int) -> None:
    stretch = [entry.upper() for entry in more]
    found = diff(old, [*old[:at], *stretch, *old[at:]])
    assert (len(found.added), len(found.removed), len(found.moved)) == (len(stretch), 0, 0)


def test_changes_of_another_playlist_are_refused() -> None:
    with pytest.raises(ValueError, match="not of this snapshot"):
        apply(diff("abc", "ab"), "xyz")
    with pytest.raises(ValueError, match="not of this snapshot"):
        apply(diff("abc", "abcd"), "")
