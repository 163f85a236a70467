#include "server/http_tls.h"

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "base/error.h"
#include "formats/files.h"

namespace latent8 {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

void check(const error_code& error, const std::string& file, const char* what) {
  if (error)
    throw_error(ErrorCode::kInvalidArgument, "'{}': {} in PEM expected, got: {}", file, what,
                error.message());
}

void add_revocations(ssl::context& context, const std::vector<std::string>& files) {
  if (files.empty()) return;
  X509_STORE* store = SSL_CTX_get_cert_store(context.native_handle());
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  for (const std::string& file : files)
    if (lookup == nullptr || X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) < 1)
      throw_error(ErrorCode::kInvalidArgument, "'{}': a list of revoked certificates in PEM expected", file);
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
}

}  // namespace

std::shared_ptr<ssl::context> make_tls(const TlsFiles& files) {
  for (const std::string& file : {files.certificate, files.key})
    read_text_file(file);  // says what is missing
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                       ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  context->set_password_callback(
      [password = files.key_password](std::size_t, ssl::context::password_purpose) { return password; });
  context->use_certificate_chain_file(files.certificate, error);
  check(error, files.certificate, "a certificate chain");
  context->use_private_key_file(files.key, ssl::context::pem, error);
  check(error, files.key, "the certificate's key");
  for (const std::string& file : files.client_ca_files) {
    context->load_verify_file(file, error);
    check(error, file, "certificates of authorities");
    context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  }
  add_revocations(*context, files.client_crl_files);
  return context;
}

}  // namespace latent8
