"""Operations on dead letters: find, replay, group and rescue them."""
