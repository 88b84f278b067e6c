// Runs fake_apiserver.py (the API server double) as a child and drives it: one JSON line there, one back. For tests;
// throws on misuse.
#pragma once
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice::testkit {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "sluice-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name, std::ios::binary) << text;
    return *this / name;
  }

 private:
  std::string path_;
};

// A self-signed certificate for `alt_names` ("IP:127.0.0.1,DNS:x"): its own authority.
struct TestCertificate {
  std::string certificate, key;
};
inline TestCertificate make_certificate(const std::string& common_name, const std::string& alt_names) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  static long serial = 1;
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86'400);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(common_name.c_str()), -1,
                             -1, 0);
  X509_set_issuer_name(certificate, name);
  const auto add = [&](int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  };
  add(NID_basic_constraints, "critical,CA:TRUE");
  if (!alt_names.empty()) add(NID_subject_alt_name, alt_names);
  X509_sign(certificate, key, EVP_sha256());
  const auto text = [](auto write) {
    BIO* bio = BIO_new(BIO_s_mem());
    write(bio);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<size_t>(size));
    BIO_free(bio);
    return out;
  };
  TestCertificate out{text([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); }), text([&](BIO* bio) {
                        PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
                      })};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

class FakeApiServer {
 public:
  using json = nlohmann::json;
  // `client_ca`: a client certificate signed by it is demanded.
  explicit FakeApiServer(const TempFolder& folder, const std::string& client_ca = {}) {
    const TestCertificate own = make_certificate("apiserver", "IP:127.0.0.1,DNS:kubernetes.default.svc");
    ca_file = folder.write("server.crt", own.certificate);
    key_file = folder.write("server.key", own.key);
    const std::string client_file = client_ca.empty() ? std::string() : folder.write("client-ca.crt", client_ca);
    int to[2], from[2];
    if (pipe(to) != 0 || pipe(from) != 0) throw std::runtime_error("pipe");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(to[0], 0);
      dup2(from[1], 1);
      for (int fd : {to[0], to[1], from[0], from[1]}) close(fd);
      const std::string script = std::string(SLUICE_SOURCE_DIR) + "/tests/lib/fake_apiserver.py";
      execlp("python3", "python3", script.c_str(), ca_file.c_str(), key_file.c_str(),
             client_file.empty() ? nullptr : client_file.c_str(), nullptr);
      _exit(127);
    }
    close(to[0]);
    close(from[1]);
    in_ = fdopen(to[1], "w");
    out_ = fdopen(from[0], "r");
    port = read_line().at("port").get<int>();
  }
  FakeApiServer(const FakeApiServer&) = delete;
  FakeApiServer& operator=(const FakeApiServer&) = delete;
  ~FakeApiServer() {
    fclose(in_);
    fclose(out_);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  json command(const json& what) {
    std::fputs((what.dump() + "\n").c_str(), in_);
    std::fflush(in_);
    json answer = read_line();
    if (answer.contains("error")) throw std::runtime_error(answer.dump());
    return answer;
  }
  void fault(const std::string& on, const std::string& what, json more = json::object()) {
    more["op"] = "fault";
    more["on"] = on;
    more["what"] = what;
    command(more);
  }
  [[nodiscard]] std::string url() const { return "https://127.0.0.1:" + std::to_string(port); }

  int port = 0;
  std::string ca_file, key_file;

 private:
  json read_line() {
    char* line = nullptr;
    size_t size = 0;
    const ssize_t got = getline(&line, &size, out_);
    const std::string text = got > 0 ? std::string(line, static_cast<size_t>(got)) : std::string();
    free(line);
    if (got <= 0) throw std::runtime_error("the API server double has ended");
    return json::parse(text);
  }
  pid_t pid_ = -1;
  FILE *in_ = nullptr, *out_ = nullptr;
};

}  // namespace sluice::testkit
