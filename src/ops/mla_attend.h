#pragma once
// Attention of query rows over the paged latent, threaded, in the absorbed form.

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/views.h"
#include "kernels/latent_pages.h"
#include "ops/context.h"

namespace latent8 {

// One sequence of a step: its query tokens are rows [query_begin, query_end) of the step's tokens and the
// last query_end - query_begin positions of the sequence.
struct AttendSeq {
  std::int64_t query_begin = 0, query_end = 0;
  std::int64_t seq_len = 0;  // tokens of the sequence including this step's
  std::span<const std::int32_t> block_table;
};

// Query rows in the order (token, head). int8 layers read q8 and qk_scale, float layers read q.
struct AttendQueries {
  std::int64_t heads = 0;
  ConstMat<std::int8_t> q8;         // [T * heads, rank] codes, plain rows
  std::span<const float> qk_scale;  // [T * heads] q scale * k scale * softmax scale
  ConstMat<float> q;                // [T * heads, rank] times the softmax scale
  ConstMat<float> q_pe;             // [T * heads, rope] times the softmax scale
};

// Partial results of runs of keys, kept between calls to avoid allocation.
struct AttendScratch {
  std::vector<AlignedBuffer<float>> worker_partial;  // per worker: one row block's out, max, sum
  AlignedBuffer<float> partials;  // row blocks x runs, where runs are spread over the threads
};

// out [T * heads, rank] = softmax(S) V for every row; a row of position p sees keys [0, p].
// Runs of kRunKeys keys are always formed and merged in ascending order, whichever thread computed them, so
// the result does not depend on threads, block size, page placement, or on the other sequences of the step.
void mla_attend(OpContext& ctx, const LatentPages& pages, std::span<const AttendSeq> seqs,
                const AttendQueries& queries, AttendScratch& scratch, Mat<float> out);

}  // namespace latent8
