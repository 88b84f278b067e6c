// Certificates for benchmarks, one a name: certs COUNT FORMAT NAMESPACE writes a List of kubernetes.io/tls Secrets cert-00000.. to stdout, each self-signed
// for the name that FORMAT (with one %d) makes of its number. One P-256 key for each.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void base64(BIO *pem) {
  char *data;
  long size = BIO_get_mem_data(pem, &data);
  unsigned char *out = malloc((size_t)size * 2 + 8);
  EVP_EncodeBlock(out, (unsigned char *)data, (int)size);
  fputs((char *)out, stdout);
  free(out);
}

static int one(int number, const char *format, const char *ns) {
  char name[128], san[160];
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(name, sizeof name, format, number);
  snprintf(san, sizeof san, "DNS:%s", name);
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), number + 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 30 * 86400);
  X509_set_pubkey(cert, key);
  X509_NAME *subject = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(cert, subject);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(0, 0, NID_subject_alt_name, san);
  if (!key || !extension || !X509_add_ext(cert, extension, -1) || !X509_sign(cert, key, EVP_sha256())) return 1;
  BIO *pem_cert = BIO_new(BIO_s_mem()), *pem_key = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(pem_cert, cert);
  PEM_write_bio_PrivateKey(pem_key, key, 0, 0, 0, 0, 0);
  printf("%s{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"cert-%05d\",\"namespace\":\"%s\"},\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"", number ? ",\n" : "", number, ns);
  base64(pem_cert);
  printf("\",\"tls.key\":\"");
  base64(pem_key);
  printf("\"}}");
  BIO_free(pem_cert); BIO_free(pem_key); X509_EXTENSION_free(extension); X509_free(cert); EVP_PKEY_free(key);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  printf("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[");
  for (int i = 0; i < atoi(argv[1]); i++) if (one(i, argv[2], argv[3])) return 1;
  printf("]}\n");
  return 0;
}
