#pragma once
// The contract between the single-thread kernels and everything above: plain structs of pointers and sizes
// in, results out. A kernel owns nothing, allocates nothing, starts no thread and cannot fail; outputs never
// alias inputs unless a field says so. Pointers need no alignment beyond their element type; weights lie
// where the checkpoint file has them.
//
// Order of additions: for one output element it depends on the sizes of the reduction only, never on how many
// rows a call has, so that a GEMV and a GEMM give the same bits (docs/architecture.md, determinism).

#include <cstdint>
#include <span>
#include <string_view>

#include "base/dtype.h"

namespace latent8 {

enum class WeightType : std::uint8_t { kF32, kBf16, kF16, kF8E4M3 };
DType dtype_of(WeightType type);

// c[m, n] = sum_k a[m, k] * b[n, k], weights widened to fp32, fp32 accumulation.
struct GemmF32Args {
  const float* a;  // [m, k], rows a_stride apart
  const void* b;   // [n, k] of b_type, rows b_stride elements apart
  float* c;        // [m, n], rows c_stride apart
  std::int64_t m, n, k;
  std::int64_t a_stride, b_stride, c_stride;  // in elements
  WeightType b_type;
  // fp8 only: one scale per 128 x 128 block of the whole tensor; b starts at row b_row0 and column 0 of it.
  const float* b_scale;  // [ceil(rows / 128), b_scale_stride]
  std::int64_t b_scale_stride;
  std::int64_t b_row0;
};

// c[m, n] = sum_k a[m, k] * b[k, n]: b is read along its rows. Same fields; b [k, n], b_row0 counts rows of
// b.
using GemmNnF32Args = GemmF32Args;

// c[m, n] = (sum_k a[m, k] * b[n, k] + bias[n]) * (a_scale[m] * b_scale[n]); the sum and the bias in exact
// int32.
struct GemmS8Args {
  const std::int8_t* a;       // [m, k] dense, in [-128, 127]
  const std::int32_t* a_sum;  // [m] sum over k of a
  const std::int8_t* b;       // [n, k] dense
  float* c;                   // [m, n], rows c_stride apart
  std::int64_t m, n, k;       // k <= 65,536: k * 255 * 127 fits int32
  std::int64_t c_stride;
  const float* a_scale;      // [m], nullptr means 1
  const float* b_scale;      // [n]
  const std::int32_t* bias;  // [n], nullptr means 0
  void* scratch;             // gemm_s8_scratch_bytes(k), 64-byte aligned
};

// q[m, k] = clamp(rint(x / scale[m]), -128, 127) with scale[m] = amax / 127 per row; a row of zeros has scale
// 0, codes 0.
struct QuantizeDynamicArgs {
  const float* x;     // [m, k], rows x_stride apart
  std::int8_t* q;     // [m, k] dense
  float* scale;       // [m]
  std::int32_t* sum;  // [m] sum over k of q
  std::int64_t m, k, x_stride;
};

// q[m, k] = clamp(rint(x / scale + offset), -128, 127), one scale and offset per tensor.
struct QuantizeStaticArgs {
  const float* x;     // [m, k], rows x_stride apart
  std::int8_t* q;     // [m, k] dense
  std::int32_t* sum;  // [m] sum over k of q
  std::int64_t m, k, x_stride;
  float scale;
  float offset;
};

// Rows of a stored weight. Element [i, j] is ((w[i, j] * block_scale) * row_scale[i]) * col_scale[j], every
// product rounded to fp32.
struct WeightRows {
  const void* w = nullptr;  // [m, k] dense, of `type`
  WeightType type = WeightType::kF32;
  std::int64_t m = 0, k = 0;
  // fp8 only: one scale per 128 x 128 block of the whole tensor, below kMaxBlockScale; row 0 of w is row
  // `row0` of the tensor.
  const float* block_scale = nullptr;  // [ceil(rows / 128), block_scale_stride]
  std::int64_t block_scale_stride = 0, row0 = 0;
  const float* row_scale = nullptr;  // [m], nullptr means 1
  const float* col_scale = nullptr;  // [k], nullptr means 1
};
inline constexpr float kMaxBlockScale = 0x1p119F;  // 2^8 of it, and that times 448, are numbers of fp32

// out[m, k]: the weights as fp32.
struct WidenWeightArgs {
  WeightRows rows;
  float* out;  // [m, k] dense
};

// amax[m]: the largest magnitude of the row; NaN if a weight of it is NaN or infinite.
// REQUIRES: no row_scale, no col_scale.
struct WeightAmaxArgs {
  WeightRows rows;
  float* amax;  // [m]
};

// q[m, k] = clamp(rint(weight / scale[m]), -127, 127): the quotient is rounded to fp32, ties go to even.
// REQUIRES: no row_scale, no col_scale; k <= 16,777,216. A row with a NaN, and one with a scale that is not
// in [2^-100, 2^126] or is less than 2^-30 of the row's largest magnitude, gets any codes.
struct WeightCodesArgs {
  WeightRows rows;
  const float* scale;  // [m]
  std::int8_t* q;      // [m, k] dense
  std::int32_t* sum;   // [m] sum over k of q
};

// out[m, n] = x / sqrt(mean(x^2) + eps) * weight + bias. out may be x.
struct RmsNormArgs {
  const float* x;       // [m, n], rows x_stride apart
  float* out;           // [m, n], rows out_stride apart
  const float* weight;  // [n]
  const float* bias;    // [n], nullptr means 0
  std::int64_t m, n, x_stride, out_stride;
  float eps;
};

// Rotates pairs (2i, 2i + 1) of every head in place: the interleaved form of DeepSeek checkpoints.
struct RopeArgs {
  float* x;                       // [m, heads, dim]: token stride x_stride, head stride head_stride
  const std::int32_t* positions;  // [m]
  const float* cos;               // [max_position, dim / 2]
  const float* sin;               // [max_position, dim / 2]
  std::int64_t m, heads, dim, x_stride, head_stride;
};

// out[m, n] = gate / (1 + exp(-gate)) * up. out may be gate.
struct SiluMulArgs {
  const float* gate;  // [m, n], rows stride apart, as are up and out
  const float* up;
  float* out;
  std::int64_t m, n, gate_stride, up_stride, out_stride;
};

// One run of keys (at most kRunKeys, starting at a multiple of kRunKeys) for a block of query rows, which are
// any mixture of tokens and heads of one sequence. Keys lie in groups of 16 (kernels/latent_layout.h). Per
// tile of kTileKeys: S = int32(q8 . k8) * qk_scale + q_pe . k_pe; m = max S over visible keys; P = exp(S -
// m); P8 = rint(255 P) as u8; the tile's sum of fp32 P and its int32 P8 . V8 * v_scale / 255 are combined
// with the tiles before it in fp32 (flash-attention rescaling).
struct MlaAttendS8Args {
  const void* const* groups;    // [ceil(n_keys / 16)] groups of the run, first key first
  std::int64_t key_begin;       // absolute position of the run's first key
  std::int64_t n_keys;          // keys of the run that any row sees, >= 1
  std::int64_t rows;            // <= kAttendMaxRows
  std::int64_t rank;            // kv_lora_rank, a multiple of 16
  std::int64_t rope;            // qk_rope_head_dim
  const std::int8_t* q;         // [rows, rank] absorbed query codes
  const float* qk_scale;        // [rows] q scale * k scale * softmax scale
  const float* q_pe;            // [rows, rope] times the softmax scale
  const std::int32_t* visible;  // [rows] the row sees absolute keys [0, visible)
  float v_scale;                // the layer's k scale
  float* out;                   // [rows, rank] sum of exp(S - max) V, not normalised
  float* max;                   // [rows] -inf if the row sees no key of the run
  float* sum;                   // [rows] sum of exp(S - max)
  void* scratch;                // attend_scratch_bytes(rank, rope), 64-byte aligned
};

// The same on a float cache (fp16 or fp32 elements): S = q . k + q_pe . k_pe in fp32, P stays fp32.
struct MlaAttendFloatArgs {
  const void* const* groups;
  std::int64_t key_begin, n_keys, rows, rank, rope;
  const float* q;     // [rows, rank] absorbed query times the softmax scale
  const float* q_pe;  // [rows, rope] times the softmax scale
  const std::int32_t* visible;
  float* out;
  float* max;
  float* sum;
  void* scratch;
};

inline constexpr std::int64_t kTileKeys = 64;
inline constexpr std::int64_t kRunKeys = 4096;
inline constexpr std::int64_t kAttendMaxRows = 128;

struct KernelTable {
  const char* name;        // "scalar", "avx2", "avx512_vnni", "avx512_zen4"
  std::uint32_t required;  // mask of CpuFeature
  void (*gemm_f32)(const GemmF32Args&);
  void (*gemm_nn_f32)(const GemmNnF32Args&);
  void (*gemm_s8)(const GemmS8Args&);
  void (*quantize_dynamic)(const QuantizeDynamicArgs&);
  void (*quantize_static)(const QuantizeStaticArgs&);
  void (*widen_weight)(const WidenWeightArgs&);
  void (*weight_amax)(const WeightAmaxArgs&);
  void (*weight_codes)(const WeightCodesArgs&);
  void (*rms_norm)(const RmsNormArgs&);
  void (*rope)(const RopeArgs&);
  void (*silu_mul)(const SiluMulArgs&);
  void (*mla_attend_s8)(const MlaAttendS8Args&);
  void (*mla_attend_f16)(const MlaAttendFloatArgs&);
  void (*mla_attend_f32)(const MlaAttendFloatArgs&);
  // The machine's limits: each runs `n` rounds of independent multiply-adds in registers and returns how many
  // MACs that were; read_memory sums `n` bytes so that every cache line is loaded.
  std::int64_t (*peak_s8)(std::int64_t n, std::int32_t* sink);
  std::int64_t (*peak_f32)(std::int64_t n, float* sink);
  std::int64_t (*peak_bf16)(std::int64_t n, float* sink);  // nullptr where the ISA has no bf16 dot product
  std::int64_t (*read_memory)(const void* data, std::int64_t n);
};

std::int64_t gemm_s8_scratch_bytes(std::int64_t k);
std::int64_t attend_scratch_bytes(std::int64_t rank, std::int64_t rope);

std::span<const KernelTable* const>
all_tables();  // best first, "scalar" last; some may need features this CPU lacks
bool is_supported(const KernelTable& table);  // by this CPU
// The table of that name. Throws: Error{kInvalidArgument} if there is none, or this CPU cannot run it.
const KernelTable& find_table(std::string_view name);
// The best supported table, or the one that LATENT8_ISA names; chosen once. Throws: as find_table().
const KernelTable& kernels();

}  // namespace latent8
