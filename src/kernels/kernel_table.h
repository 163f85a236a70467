#pragma once
// The contract between the single-thread kernels and everything above: plain structs of pointers and sizes
// in (one header per family, *_args.h and others beside this one), results out. A kernel owns nothing,
// allocates nothing, starts no thread and cannot fail; outputs never alias inputs unless a field says so.
// Pointers need no alignment beyond their element type unless a field says so; weights lie where the
// checkpoint file has them.
//
// Order of additions: for one output element it depends on the sizes of the reduction only, never on how many
// rows a call has, so that a GEMV and a GEMM give the same bits (docs/architecture.md, determinism).
// How to add a table: docs/kernels.md.

#include <cstdint>
#include <span>
#include <string_view>

namespace latent8 {

struct GemmF32Args;
struct GemmS8Args;
struct QuantizeDynamicArgs;
struct QuantizeStaticArgs;
struct QuantizeRowMajorArgs;
struct WidenWeightArgs;
struct WeightAmaxArgs;
struct WeightCodesArgs;
struct RmsNormArgs;
struct RopeArgs;
struct SiluMulArgs;
struct MlaAttendS8Args;
struct MlaAttendFloatArgs;

struct KernelTable {
  const char* name;        // "scalar", "avx2", "avx512_vnni", "avx512_zen4"
  std::uint32_t required;  // mask of CpuFeature

  // Codes of activations (kernels/activation_codes.h).
  std::int64_t (*code_bytes)(std::int64_t m, std::int64_t k);  // of m rows of k codes; a multiple of 64
  std::int64_t code_rows;  // rows that share cache lines: threads that write, and calls of gemm_s8, start at
                           // multiples
  void (*quantize_dynamic)(const QuantizeDynamicArgs&);
  void (*quantize_static)(const QuantizeStaticArgs&);
  void (*quantize_row_major)(const QuantizeRowMajorArgs&);

  // Matrix products (kernels/gemm_args.h). A parallel loop hands a thread blocks of at most gemm_rows x
  // gemm_cols of the output: rows that are worth a pass over the weights, columns that are worth a call.
  std::int64_t gemm_rows, gemm_cols;  // gemm_rows is a multiple of code_rows
  void (*gemm_f32)(const GemmF32Args&);
  void (*gemm_nn_f32)(const GemmF32Args&);
  void (*gemm_s8)(const GemmS8Args&);
  std::int64_t (*gemm_s8_scratch_bytes)(std::int64_t m, std::int64_t n, std::int64_t k);  // grows with each

  // Stored weights (kernels/weight_rows.h).
  void (*widen_weight)(const WidenWeightArgs&);
  void (*weight_amax)(const WeightAmaxArgs&);
  void (*weight_codes)(const WeightCodesArgs&);

  // Rows of floats (kernels/elementwise_args.h).
  void (*rms_norm)(const RmsNormArgs&);
  void (*rope)(const RopeArgs&);
  void (*silu_mul)(const SiluMulArgs&);

  // Attention (kernels/attend_args.h).
  std::int64_t attend_rows;       // most query rows of a call; a multiple of 16
  std::int64_t attend_tile_keys;  // keys whose P shares a maximum; divides kRunKeys
  std::int64_t (*attend_scratch_bytes)(std::int64_t rank, std::int64_t rope);  // of all three
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

std::span<const KernelTable* const>
all_tables();  // best first, "scalar" last; some may need features this CPU lacks
bool is_supported(const KernelTable& table);  // by this CPU
// The table of that name. Throws: Error{kInvalidArgument} if there is none, or this CPU cannot run it.
const KernelTable& find_table(std::string_view name);
// The best supported table, or the one that LATENT8_ISA names; chosen once. Throws: as find_table().
const KernelTable& kernels();

}  // namespace latent8
