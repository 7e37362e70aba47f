#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace gamepicker {

/// A game that may be picked, with its own and its pack's favor_bias, each -1, 0 or 1.
struct Candidate {
  std::int64_t game_id = 0;
  std::int64_t game_bias = 0;
  std::int64_t pack_bias = 0;
};

/// Game bias (1: 3x, 0: 1x, -1: 0.2x) times pack bias (1: 2x, 0: 1x, -1: 0.3x); rest.md, Picker.
double weight(const Candidate& candidate);

/// The index of one of them, each as likely as its weight. There must be at least one.
std::size_t pick_weighted(const std::vector<Candidate>& candidates, std::mt19937_64& random);

}  // namespace gamepicker
