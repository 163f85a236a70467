// Reading tiktoken.model: a line per token, its bytes in base64 and its rank, which is its id.

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/foreign_file.h"
#include "formats/json.h"
#include "sys/mapped_file.h"
#include "text/json_file.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;

// Source: tokenization_kimi.py of Kimi-K2, tokenization_moonshot.py of Moonlight (pat_str). It is no part of
// tiktoken.model.
constexpr std::string_view kPattern =
    "[\\p{Han}]+"
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*"
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+"
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
// Ids kept for special tokens after the ordinary ones, with the names that tokenization code gives them.
constexpr std::int32_t kReserved = 256;
constexpr std::size_t kChunkCharacters = 400'000;
constexpr std::size_t kRunCharacters = 25'000;

// Its classes take PCRE2 a third of a second.
const PreTokenizer& pre_tokenizer() {
  static const PreTokenizer instance(
      SortedJson{{"type", "Sequence"},
                 {"pretokenizers",
                  {{{"type", "Split"}, {"pattern", {{"Regex", kPattern}}}, {"behavior", "Isolated"}},
                   {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}},
      "tiktoken.model");
  return instance;
}

int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// nullopt if it is not base64, or of nothing.
std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  unsigned bits = 0, count = 0;
  for (const char c : text) {
    const int value = sextet(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<unsigned>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(static_cast<unsigned char>(bits >> count));
    bits &= (1u << count) - 1;
  }
  return bytes.empty() ? std::nullopt : std::optional(bytes);
}

void read_line(std::string_view line, std::size_t number, VocabularyFile& file, const std::string& where) {
  const std::size_t space = line.find(' ');
  const std::optional<std::string> bytes = from_base64(line.substr(0, space));
  std::int32_t rank = -1;
  const char* end = line.data() + line.size();
  const auto parsed = space == std::string_view::npos
                          ? std::from_chars_result{line.data(), std::errc::invalid_argument}
                          : std::from_chars(line.data() + space + 1, end, rank);
  if (!bytes || bytes->size() > kMaxTokenBytes || parsed.ec != std::errc() || parsed.ptr != end || rank < 0 ||
      rank > kMaxTokenId)
    throw_error(
        ErrorCode::kCorrupt,
        "{}: line {}: a token of at most {} bytes in base64 and its rank, at most {}, expected, got {}",
        where, number, kMaxTokenBytes, kMaxTokenId, shown_json(SortedJson(std::string(line.substr(0, 60)))));
  file.add_ordinary(rank, *bytes, fmt::format("{}: line {}", where, number));
  file.tokens[static_cast<std::size_t>(rank)].bytes = *bytes;
}

// Two neighbours merge if together they are a token; the token's rank says when.
void derive_merges(VocabularyFile& file) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  for (const auto& [bytes, id] : file.ids) ids.emplace(bytes, id);
  for (const auto& [bytes, id] : file.ids) {
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      const auto left = ids.find(std::string_view(bytes).substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(std::string_view(bytes).substr(cut));
      if (right != ids.end()) file.model.merges.push_back({left->second, right->second, id, id});
    }
  }
}

void read_special_tokens(const SortedJson& config, VocabularyFile& file, const std::string& where) {
  const auto base = static_cast<std::int32_t>(file.tokens.size());
  for (std::int32_t id = base; id < base + kReserved; ++id)
    file.added.push_back({{.id = id,
                           .content = fmt::format("<|reserved_token_{}|>", id),
                           .special = true,
                           .lstrip = false,
                           .rstrip = false,
                           .single_word = false},
                          false});
  if (!config.is_object() || !config.contains("added_tokens_decoder")) return;
  for (const auto& [key, entry] : config["added_tokens_decoder"].items()) {
    const SortedJson number = SortedJson::parse(key, nullptr, false);
    const std::int32_t id = checked_token_id(number, where + ": 'added_tokens_decoder'");
    if (id < base)
      throw_error(ErrorCode::kCorrupt,
                  "{}: 'added_tokens_decoder': ids from {} on expected (tiktoken.model has {} "
                  "tokens), got {}",
                  where, base, base, id);
    AddedTokenEntry named = read_added_token(entry, id, where);
    named.normalized = false;
    // White space around a special token stays: the tokenization code hands tiktoken the bare names.
    named.token.lstrip = named.token.rstrip = named.token.single_word = false;
    if (id < base + kReserved)
      file.added[static_cast<std::size_t>(id - base)] = std::move(named);
    else
      file.added.push_back(std::move(named));
  }
}

}  // namespace

VocabularyFile read_tiktoken_model(const std::filesystem::path& path, const SortedJson& config) {
  const std::string where = path.string();
  const MappedFile mapped(path);
  std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  refuse_foreign(text, where);
  const std::string tokenizer_class =
      config.is_object() ? JsonFields(config, where).text("tokenizer_class", "TikTokenTokenizer")
                         : "TikTokenTokenizer";
  if (tokenizer_class != "TikTokenTokenizer" && tokenizer_class != "TikTokenTokenizerFast")
    throw_error(
        ErrorCode::kUnsupported,
        "{}: the file has no split pattern; it is known for 'tokenizer_class' TikTokenTokenizer (Kimi, "
        "Moonlight), not for {}; make a tokenizer.json with transformers",
        where, shown_json(tokenizer_class));
  VocabularyFile file{.tokens = {},
                      .ids = {},
                      .added = {},
                      .normalizer = Normalizer(SortedJson(), where),
                      .pre_tokenizer = pre_tokenizer(),
                      .model = {},
                      .decoder = TokenDecoder(SortedJson{{"type", "ByteLevel"}}, where),
                      .affixes = {},
                      .is_tiktoken = true};
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) read_line(line, number, file, where);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  file.model.byte_ids.fill(-1);
  for (const auto& [bytes, id] : file.ids)
    if (bytes.size() == 1) file.model.byte_ids[static_cast<unsigned char>(bytes[0])] = id;
  for (std::size_t byte = 0; byte < 256; ++byte)
    if (file.model.byte_ids[byte] < 0)
      throw_error(ErrorCode::kCorrupt, "{}: no token for byte 0x{:02x}; is the file whole?", where, byte);
  derive_merges(file);
  file.model.whole_words = file.ids;
  read_special_tokens(config, file, (path.parent_path() / "tokenizer_config.json").string());
  return file;
}

std::vector<TextRange> tiktoken_chunks(std::string_view text) {
  std::vector<TextRange> chunks;
  std::size_t begin = 0, characters = 0, run = 0;
  bool run_is_space = false;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_front(text.substr(at));
    const bool is_space = is_python_space(step.code_point);
    const bool full = characters == kChunkCharacters;
    if (full || run == 0 || is_space != run_is_space) {
      run = 1;
      run_is_space = is_space;
    } else {
      ++run;
    }
    if (full || run > kRunCharacters) {
      chunks.push_back({begin, at});
      begin = at;
      run = 1;
    }
    characters = full ? 1 : characters + 1;
    at += step.length;
  }
  if (begin < text.size()) chunks.push_back({begin, text.size()});
  return chunks;
}

}  // namespace latent8
