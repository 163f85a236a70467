#pragma once
// --json-schema of run and chat.

#include <CLI/CLI.hpp>
#include <string>

#include "frontend/frontend.h"

namespace latent8 {

void add_json_schema_flag(CLI::App& app, std::string& given);

// The schema as JSON: what was given, or what is in the file of that name; "" where nothing was given.
// Throws: Error naming the flag for what is no JSON object, true or false; and as read_text_file().
std::string json_schema_text(const std::string& given);

// Masks for an answer of the schema; none for "". Throws: Error naming the flag and what of the schema cannot
// be done.
MaskFactory json_schema_masks(const Frontend& frontend, const std::string& schema, const Prompt& prompt);

}  // namespace latent8
