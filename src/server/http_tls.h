#pragma once
// A TLS context from files. Private to http.cpp.

#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "server/http.h"

namespace latent8 {

// TLS 1.2 and 1.3. Throws: Error{kNotFound | kInvalidArgument} naming the file that cannot be used.
std::shared_ptr<boost::asio::ssl::context> make_tls(const TlsFiles& files);

}  // namespace latent8
