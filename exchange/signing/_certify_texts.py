"""What each check of a device is, and what to tell the vendor where it fails, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen
class Text:
    """One check in words."""

    en: str
    zh: str
    vendor_en: str
    vendor_zh: str


TEXTS: Final[Mapping[str, Text]] = {
    "loads": Text(
        "the library loads, and shows what is there",
        "接口库可加载，并能列出设备",
        "The library can't be loaded or initialized in a fresh process: is it the Linux build for this processor, and"
        " are the libraries and the settings file that it needs in place?",
        "接口库无法在新进程中加载或初始化：是否为本处理器的 Linux 版本？其依赖库和配置文件是否齐全？",
    ),
    "opens": Text(
        "the device opens, a session opens, the PIN is accepted",
        "设备和会话可打开，PIN 通过",
        "The device, a session in it, or the login fails: tell them the code, and ask for what the address, the name of"
        " the token and the PIN must be.",
        "打开设备、会话或登录失败：请提供返回码，并确认设备地址、令牌名称和 PIN。",
    ),
    "public": Text(
        "the key's public half can be read",
        "可导出密钥的公钥",
        "The public half of the key can't be read at this place: is the key there, and is its public half kept with the"
        " same id and label (PKCS#11), or exported for this index (SDF)?",
        "该位置的公钥无法导出：密钥是否存在？公钥对象是否与私钥使用相同的 id 和标签（PKCS#11），"
        "或该索引是否允许导出（SDF）？",
    ),
    "fields": Text(
        "numbers have the width that is set (SDF)",
        "数据字段宽度与设置一致（SDF）",
        "The exported key is no key with the width that is set: ask whether ECCref_MAX_LEN is 32 or 64 bytes, and"
        " RSAref_MAX_LEN 256 or 512.",
        "按所设宽度解析的公钥无效：请确认 ECCref_MAX_LEN 为 32 还是 64 字节，RSAref_MAX_LEN 为 256 还是 512 字节。",
    ),
    "mechanisms": Text(
        "the device lists the mechanism that the key needs (PKCS#11)",
        "设备支持该密钥所需的机制（PKCS#11）",
        "C_GetMechanismList lacks what the key signs with: CKM_RSA_PKCS, CKM_ECDSA, or the vendor's number for SM2."
        " Ask for the number, and whether it takes the data or the hash.",
        "C_GetMechanismList 中没有该密钥的签名机制：CKM_RSA_PKCS、CKM_ECDSA 或厂商自定义的 SM2 机制号。"
        "请确认机制号，以及输入为原文还是摘要。",
    ),
    "encoding": Text(
        "a signature is r || s of 64 bytes, or as long as the RSA modulus",
        "签名为 64 字节 r||s，或与 RSA 模长相同",
        "Signatures come in another encoding: we need r || s, each padded to 32 bytes with zeros on the left; RSA as"
        " long as the modulus. Where SM2 comes as DER, it can be set (sm2.writes: der).",
        "签名编码不符：应为 r||s，各左补零至 32 字节；RSA 与模长相同。若 SM2 输出为 DER，可设置 sm2.writes: der。",
    ),
    "signs": Text(
        "signatures verify, with every algorithm of the key",
        "各算法的签名均可验证",
        "Signatures fail or don't verify with the public half that the device itself exports. For SM2 the input is"
        " SM3(ZA || M) with the id 1234567812345678; for RSA it is a padded DigestInfo.",
        "签名失败，或无法用设备自身导出的公钥验证。SM2 的输入为 SM3(ZA||M)，标识为 1234567812345678；"
        "RSA 的输入为填充后的 DigestInfo。",
    ),
    "sizes": Text(
        "data of 1 byte to 512 KB is signed",
        "1 字节至 512 KB 的数据均可签名",
        "Some sizes of data can't be signed: ask for the limit of one call.",
        "部分长度的数据无法签名：请确认单次调用的数据长度上限。",
    ),
    "distinct": Text(
        "many signatures in a row verify; those of SM2 and ECDSA all differ",
        "连续大量签名均可验证；SM2 和 ECDSA 签名互不相同",
        "Of many signatures one failed, didn't verify, or came twice. SM2 and ECDSA signatures that share r give the"
        " private key away: take the device out of use.",
        "大量签名中有失败、验证不通过或重复的情况。SM2、ECDSA 签名的 r 重复会泄露私钥：请立即停用该设备。",
    ),
    "latency": Text(
        "a signature comes in time",
        "签名时延符合要求",
        "Signatures take too long: tell them the figures, and ask what the device should do at one request at a time;"
        " look at the network between.",
        "签名过慢：请提供实测数据，询问设备在单请求下的应有时延，并检查网络。",
    ),
    "parallel": Text(
        "2, 4 and 16 sessions sign at once, each in its thread",
        "2、4、16 个会话多线程并行签名正确",
        "With several sessions in several threads calls fail, or results are mixed up: is the library thread-safe when"
        " initialized with CKF_OS_LOCKING_OK (PKCS#11), with one session a thread (SDF)?",
        "多会话多线程并行时调用失败或结果错乱："
        "以 CKF_OS_LOCKING_OK 初始化（PKCS#11）、每线程一个会话（SDF）时，接口库是否线程安全？",
    ),
    "limit": Text(
        "one session too many is refused politely, and the device works on",
        "会话数超限时返回错误码，设备仍可用",
        "Opening 256 sessions crashes or blocks the library, or leaves the device unusable:"
        " there must be an error code.",
        "打开 256 个会话会使接口库崩溃、阻塞或设备不可用：应返回错误码。",
    ),
    "relogin": Text(
        "after a logout, a new login signs again",
        "注销后重新登录可继续签名",
        "After C_Logout and C_Login (SDF: releasing the right to a key and getting it again) the key can't be used.",
        "C_Logout 后重新 C_Login（SDF：释放后重新获取私钥使用权）密钥无法使用。",
    ),
    "wrong-pin": Text(
        "a wrong PIN is refused, and the right one works after it",
        "错误 PIN 被拒绝，之后正确 PIN 仍可用",
        "A wrong PIN isn't refused, or the right one doesn't work after a single wrong one.",
        "错误的 PIN 未被拒绝，或一次错误后正确的 PIN 也无法使用。",
    ),
    "restart": Text(
        "after its process is killed at work, the device opens at once",
        "签名进程被强制终止后，设备可立即重新打开",
        "A process that is killed leaves the device or its sessions occupied: it must notice that a client is gone.",
        "进程被强制终止后，设备或会话仍被占用：设备应能识别客户端已断开。",
    ),
    "deadline": Text(
        "a call past its deadline costs its process only, three times in a row",
        "调用超时只影响其进程，连续三次后设备仍可用",
        "After calls that were given up, the device can't be opened with as many sessions:"
        " their sessions stay occupied.",
        "超时放弃的调用之后，设备无法再打开同样数量的会话：会话未被释放。",
    ),
}
