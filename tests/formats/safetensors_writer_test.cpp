#include "formats/safetensors_writer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "formats/safetensors.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> pattern(std::int64_t bytes, int seed) {
  std::vector<std::byte> data(static_cast<std::size_t>(bytes));
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<std::byte>(i * 31 + static_cast<unsigned>(seed));
  return data;
}

std::vector<TensorToWrite> some_tensors() {
  return {{"x.scale", DType::kBf16, {3, 1}}, {"x.weight", DType::kI8, {2, 64}},
          {"empty", DType::kF32, {0}},       {"odd", DType::kI8, {5}},
          {"scalar", DType::kI64, {}},       {"w\"\xc3\xa9", DType::kI8, {64}}};
}

std::vector<std::filesystem::path> entries_of(const TempDir& dir) {
  std::vector<std::filesystem::path> names;
  for (const auto& item : std::filesystem::directory_iterator(dir.path()))
    names.push_back(item.path().filename());
  return names;
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const TempDir dir;
  const std::vector<TensorToWrite> tensors = some_tensors();

  SafetensorsWriter writer(dir / "m.safetensors", tensors);
  for (int i = static_cast<int>(tensors.size()) - 1; i >= 0; --i) {  // any order, in two pieces
    const auto data = pattern(tensors[i].bytes(), i);
    const auto half = std::span(data).subspan(0, data.size() / 2);
    writer.append(tensors[i].name, half);
    writer.append(tensors[i].name, std::span(data).subspan(half.size()));
  }
  writer.finish();

  const SafetensorsFile file(dir / "m.safetensors");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (int i = 0; i < static_cast<int>(tensors.size()); ++i) {
    const TensorView& view = file.tensors().at(tensors[i].name);
    const auto data = pattern(tensors[i].bytes(), i);
    EXPECT_EQ(view.dtype, tensors[i].dtype);
    EXPECT_EQ(view.shape, tensors[i].shape);
    EXPECT_TRUE(std::equal(view.bytes.begin(), view.bytes.end(), data.begin(), data.end()))
        << tensors[i].name;
  }
}

TEST(SafetensorsWriter, AlignsEveryTensorWhoseSizeAllowsIt) {
  const TempDir dir;
  std::vector<TensorToWrite> tensors = some_tensors();

  order_for_alignment(tensors);
  SafetensorsWriter writer(dir / "m.safetensors", tensors);
  for (const TensorToWrite& tensor : tensors) writer.append(tensor.name, pattern(tensor.bytes(), 1));
  writer.finish();

  const SafetensorsFile file(dir / "m.safetensors");
  for (const auto& [name, view] : file.tensors()) {
    const auto address = reinterpret_cast<std::uintptr_t>(view.bytes.data());
    EXPECT_EQ(address % static_cast<std::uintptr_t>(size_of(view.dtype)), 0U) << name;
    if (view.bytes.size() % 64 == 0) EXPECT_EQ(address % 64, 0U) << name;
  }
}

TEST(SafetensorsWriter, RewritesAFileOfTheReferenceByteForByte) {
  const TempDir dir;
  const std::filesystem::path golden = LATENT8_SOURCE_DIR
      "/tests/data/golden/msmodelslim/a_mindie_m4_static/"
      "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors";
  const SafetensorsFile source(golden);
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, view] : source.tensors()) tensors.push_back({name, view.dtype, view.shape});

  order_as_reference(tensors);
  SafetensorsWriter writer(dir / "m.safetensors", tensors, {.header_alignment = 8, .metadata = {}});
  for (const auto& [name, view] : source.tensors()) writer.append(name, view.bytes);
  writer.finish();

  EXPECT_TRUE(read_file(dir / "m.safetensors") == read_file(golden));
}

TEST(SafetensorsWriter, WritesMetadataFirst) {
  const TempDir dir;

  SafetensorsWriter writer(dir / "m.safetensors", {},
                           {.header_alignment = 8, .metadata = {{"format", "pt"}}});
  writer.finish();

  EXPECT_EQ(read_file(dir / "m.safetensors").substr(8), R"({"__metadata__":{"format":"pt"}})");
}

TEST(SafetensorsWriter, LeavesNothingBehindWithoutFinish) {
  const TempDir dir;
  {
    SafetensorsWriter writer(dir / "m.safetensors", some_tensors());
    ASSERT_EQ(entries_of(dir).size(), 1U);
    EXPECT_THAT(entries_of(dir)[0].string(), HasSubstr("m.safetensors.tmp-" + std::to_string(getpid())));
  }
  EXPECT_TRUE(entries_of(dir).empty());
}

TEST(SafetensorsWriter, KeepsTheFormerFileUntilFinish) {
  const TempDir dir;
  dir.write("m.safetensors", "former");

  SafetensorsWriter writer(dir / "m.safetensors", {{"a", DType::kI8, {1}}});
  writer.append("a", pattern(1, 0));

  EXPECT_EQ(read_file(dir / "m.safetensors"), "former");
  writer.finish();
  EXPECT_EQ(SafetensorsFile(dir / "m.safetensors").tensors().size(), 1U);
}

TEST(SafetensorsWriter, AFolderThatIsNotThereIsNamed) {
  EXPECT_THAT(error_of(ErrorCode::kIo, [] { SafetensorsWriter("/nowhere/m.safetensors", {}); }),
              HasSubstr("/nowhere/m.safetensors"));
}

TEST(SafetensorsWriter, AWriteThatFailsIsAnErrorNamingThePathAndLeavesNothing) {
  const TempDir dir;
  rlimit former{};
  getrlimit(RLIMIT_FSIZE, &former);
  const auto former_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10'000, former.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);

  const std::string message = error_of(ErrorCode::kIo, [&] {
    SafetensorsWriter writer(dir / "m.safetensors", {{"a", DType::kI8, {1'000'000}}});
    writer.append("a", pattern(1'000'000, 0));
  });

  setrlimit(RLIMIT_FSIZE, &former);
  std::signal(SIGXFSZ, former_handler);
  EXPECT_THAT(message, HasSubstr("m.safetensors"));
  EXPECT_TRUE(entries_of(dir).empty());
}

TEST(SafetensorsWriterDeathTest, RefusesToFinishWithATensorIncomplete) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TempDir dir;
  SafetensorsWriter writer(dir / "m.safetensors", {{"a", DType::kI8, {2}}});
  writer.append("a", pattern(1, 0));

  EXPECT_DEATH(writer.finish(), "range");
}

TEST(AtomicFile, ReplacesAFileAtOnce) {
  const TempDir dir;
  dir.write("config.json", "former content");

  write_file_atomically(dir / "config.json", std::string_view("{}"));

  EXPECT_EQ(read_file(dir / "config.json"), "{}");
  EXPECT_EQ(entries_of(dir).size(), 1U);
}

}  // namespace
}  // namespace latent8
