/* A signing device with the interface of GM/T 0018, for tests: keys are PEM files, cryptography is libcrypto's.
 *
 * The folder that the process works in holds sm2-INDEX.pem and rsa-INDEX.pem, the file "pin" and, to make the device
 * misbehave, the file "fault" with one word, looked at before every call that signs:
 *   comm (COMMFAIL)  hang (for ever)  slow (a fifth of a second)  deny (PARDENY)  wrong (a false signature)
 *   crash (abort)    race (two calls at once: a false signature)    repeat (the same data: the same signature)
 *   left (numbers at the left of their fields)    clingy (can't be opened after a process died at work)
 * before every call that opens a session:
 *   sessions (no more can be opened)    few (eight of a process)    burst (abort after eight)
 *   leak (twelve for ever, whatever becomes of the processes)
 * and elsewhere:  noexport (no public keys)  anypin (every PIN is right)  once (a right given back is gone)
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

enum { OK = 0, COMMFAIL = 0x01000003, OPENDEVICE = 0x01000005, OPENSESSION = 0x01000006, PARDENY = 0x01000007,
       NOTSUPPORT = 0x01000002, KEYNOTEXIST = 0x01000008, SKOPERR = 0x0100000C, INARGERR = 0x0100001D };
#ifndef WIDE
#define WIDE 64
#endif
enum { KEYS = 64, RSA_WIDE = 256, FEW = 8, LEAK = 12 };

#pragma pack(push, 1)
typedef struct { unsigned int bits; unsigned char x[WIDE], y[WIDE]; } EccPublic;
typedef struct { unsigned char r[WIDE], s[WIDE]; } EccSignature;
typedef struct { unsigned int bits; unsigned char m[RSA_WIDE], e[RSA_WIDE]; } RsaPublic;
typedef struct { char issuer[40], name[16], serial[16]; unsigned int version, standard, asymmetric[2], symmetric, hash,
                 buffer; } DeviceInfo;
#pragma pack(pop)

typedef struct { char allowed[KEYS], gone[KEYS]; EVP_PKEY *sm2[KEYS], *rsa[KEYS]; } Session;

static int text_of(const char *name, char *out, size_t size) {
    FILE *file = fopen(name, "r");
    out[0] = 0;
    if (!file) return 0;
    size_t n = fread(out, 1, size - 1, file);
    fclose(file);
    out[n] = 0;
    out[strcspn(out, "\r\n")] = 0;
    return 1;
}

static int is_fault(const char *name) {
    char word[32];
    return text_of("fault", word, sizeof word) && !strcmp(word, name);
}

static int misbehave(void) {
    if (is_fault("comm")) return COMMFAIL;
    if (is_fault("deny")) return PARDENY;
    if (is_fault("crash")) abort();
    while (is_fault("hang")) usleep(50000);
    if (is_fault("slow")) usleep(200000);
    return OK;
}

static atomic_int opened, at_work;

static int leaked(void) {
    char text[32];
    text_of("leaked", text, sizeof text);
    FILE *file = fopen("leaked", "w");
    int count = atoi(text) + 1;
    fprintf(file, "%d", count);
    fclose(file);
    return count > LEAK;
}

static void begin_work(void) {
    if (atomic_fetch_add(&at_work, 1) == 0 && is_fault("clingy")) fclose(fopen("busy", "w"));
    if (is_fault("race") || is_fault("clingy")) usleep(3000);
}

static int end_work(void) {  /* tells whether another call was at work, too */
    int others = atomic_fetch_sub(&at_work, 1) - 1;
    if (!others) unlink("busy");
    return others;
}

static EVP_PKEY *key(EVP_PKEY **known, const char *kind, unsigned int index) {
    char path[64];
    if (index >= KEYS) return NULL;
    if (known[index]) return known[index];
    snprintf(path, sizeof path, "%s-%u.pem", kind, index);
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    known[index] = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    return known[index];
}

int SDF_OpenDevice(void **device) {
    char pin[64];
    if (!text_of("pin", pin, sizeof pin) || text_of("busy", pin, sizeof pin)) return OPENDEVICE;
    *device = (void *)1;
    return OK;
}

int SDF_CloseDevice(void *device) { (void)device; return OK; }

int SDF_OpenSession(void *device, void **session) {
    (void)device;
    int number = atomic_fetch_add(&opened, 1);
    if (is_fault("sessions") || (is_fault("few") && number >= FEW)) return OPENSESSION;
    if (is_fault("burst") && number >= FEW) abort();
    if (is_fault("leak") && leaked()) return OPENSESSION;
    *session = calloc(1, sizeof(Session));
    return *session ? OK : OPENSESSION;
}

int SDF_CloseSession(void *session) { free(session); return OK; }

int SDF_GetDeviceInfo(void *session, DeviceInfo *info) {
    (void)session;
    memset(info, 0, sizeof *info);
    strcpy(info->issuer, "nobody");
    strcpy(info->name, "test device");
    strcpy(info->serial, "0001");
    info->version = info->standard = 1;
    return OK;
}

int SDF_GetPrivateKeyAccessRight(void *handle, unsigned int index, unsigned char *password, unsigned int length) {
    Session *session = handle;
    char pin[64];
    text_of("pin", pin, sizeof pin);
    if (index >= KEYS) return KEYNOTEXIST;
    if (!is_fault("anypin") && (strlen(pin) != length || memcmp(pin, password, length))) return PARDENY;
    if (is_fault("once") && session->gone[index]) return PARDENY;
    session->allowed[index] = 1;
    return OK;
}

int SDF_ReleasePrivateKeyAccessRight(void *handle, unsigned int index) {
    Session *session = handle;
    if (index >= KEYS) return KEYNOTEXIST;
    session->allowed[index] = 0;
    session->gone[index] = 1;
    return OK;
}

int SDF_ExportSignPublicKey_ECC(void *handle, unsigned int index, EccPublic *out) {
    Session *session = handle;
    unsigned char point[65];
    size_t size = 0;
    EVP_PKEY *own = key(session->sm2, "sm2", index);
    if (!own) return KEYNOTEXIST;
    if (is_fault("noexport")) return NOTSUPPORT;
    if (!EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point, &size) ||
        size != sizeof point || point[0] != 4) return SKOPERR;
    memset(out, 0, sizeof *out);
    out->bits = 256;
    memcpy(out->x + WIDE - 32, point + 1, 32);
    memcpy(out->y + WIDE - 32, point + 33, 32);
    return OK;
}

int SDF_ExportSignPublicKey_RSA(void *handle, unsigned int index, RsaPublic *out) {
    Session *session = handle;
    BIGNUM *n = NULL, *e = NULL;
    EVP_PKEY *own = key(session->rsa, "rsa", index);
    if (!own) return KEYNOTEXIST;
    if (is_fault("noexport")) return NOTSUPPORT;
    memset(out, 0, sizeof *out);
    if (!EVP_PKEY_get_bn_param(own, OSSL_PKEY_PARAM_RSA_N, &n) || !EVP_PKEY_get_bn_param(own, OSSL_PKEY_PARAM_RSA_E, &e))
        return SKOPERR;
    out->bits = (unsigned int)BN_num_bits(n);
    BN_bn2binpad(n, out->m, RSA_WIDE);
    BN_bn2binpad(e, out->e, RSA_WIDE);
    BN_free(n);
    BN_free(e);
    return OK;
}

int SDF_InternalSign_ECC(void *handle, unsigned int index, unsigned char *e, unsigned int length, EccSignature *out) {
    Session *session = handle;
    unsigned char der[128];
    size_t size = sizeof der;
    int fault = misbehave();
    if (fault) return fault;
    EVP_PKEY *own = key(session->sm2, "sm2", index);
    if (!own) return KEYNOTEXIST;
    if (!session->allowed[index]) return PARDENY;
    if (length != 32) return INARGERR;
    static unsigned char last_e[32];
    static EccSignature last;
    if (is_fault("repeat") && !memcmp(e, last_e, sizeof last_e)) {
        *out = last;
        return OK;
    }
    begin_work();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
    int done = context && EVP_PKEY_sign_init(context) > 0 && EVP_PKEY_sign(context, der, &size, e, length) > 0;
    EVP_PKEY_CTX_free(context);
    int disturbed = end_work();
    if (!done) return SKOPERR;
    const unsigned char *start = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &start, (long)size);
    memset(out, 0, sizeof *out);
    size_t place = is_fault("left") ? 0 : WIDE - 32;
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), out->r + place, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), out->s + place, 32);
    ECDSA_SIG_free(signature);
    if (is_fault("wrong") || (is_fault("race") && disturbed)) out->s[WIDE - 1] ^= 1;
    if (is_fault("repeat")) {
        memcpy(last_e, e, sizeof last_e);
        last = *out;
    }
    return OK;
}

int SDF_InternalPrivateKeyOperation_RSA(void *handle, unsigned int index, unsigned char *in, unsigned int length,
                                        unsigned char *out, unsigned int *written) {
    Session *session = handle;
    size_t size = length;
    int fault = misbehave();
    if (fault) return fault;
    EVP_PKEY *own = key(session->rsa, "rsa", index);
    if (!own) return KEYNOTEXIST;
    if (!session->allowed[index]) return PARDENY;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);  /* the bare operation: decrypting without padding */
    int done = context && EVP_PKEY_decrypt_init(context) > 0 &&
               EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING) > 0 &&
               EVP_PKEY_decrypt(context, out, &size, in, length) > 0;
    EVP_PKEY_CTX_free(context);
    if (!done) return SKOPERR;
    *written = (unsigned int)size;
    if (is_fault("wrong")) out[0] ^= 1;
    return OK;
}
