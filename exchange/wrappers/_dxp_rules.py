"""The elements of DXP envelopes (终端节点报文, 传输节点报文; the same in the editions 2018-113 and 202205)."""

from __future__ import annotations

from typing import Final

from exchange.wrappers._rules import Mark, Rule

DXP: Final = "http://www.chinaport.gov.cn/dxp"
NS: Final = "{" + DXP + "}"
DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
BLOBS: Final = frozenset({"Data"})
PERSONAL: Final = frozenset({"IcCard"})
RECEIVERS: Final = 5
ID_LENGTH: Final = 16

_SIGNATURE: Final = Rule(f"{DS}Signature", "签名", least=0, free=True)
_ROOT_MARKS: Final = (Mark("ver", required=True, fixed="1.0"), Mark("Id", id=True))

TRANS_INFO: Final = Rule(
    f"{NS}TransInfo",
    "传输信息",
    parts=(
        Rule(f"{NS}CopMsgId", "报文编号", shortest=1, longest=255),
        Rule(f"{NS}SenderId", "发送方标识", shortest=1, longest=ID_LENGTH),
        Rule(
            f"{NS}ReceiverIds",
            "接收方",
            parts=(Rule(f"{NS}ReceiverId", "接收方标识", most=RECEIVERS, shortest=1, longest=ID_LENGTH),),
        ),
        Rule(f"{NS}CreatTime", "创建时间", time=True),
        Rule(f"{NS}MsgType", "报文类型", longest=30),
    ),
)
_BIZ_KEY: Final = Rule(
    f"{NS}Key", "业务关键字", most=5, shortest=1, longest=64, marks=(Mark("name", shortest=1, longest=32),)
)
ADD_INFO: Final = Rule(
    f"{NS}AddInfo",
    "附加信息",
    least=0,
    parts=(
        Rule(f"{NS}FileName", "文件名", least=0, shortest=1, longest=255),
        Rule(f"{NS}IcCard", "IC 卡号", least=0, shortest=1, longest=13),
        Rule(f"{NS}BizKey", "业务关键字", least=0, parts=(_BIZ_KEY,)),
        Rule(f"{NS}IsText", "文本标识", least=0, marks=(Mark("Encode", required=True, longest=50),)),
        Rule(f"{NS}RecMapId", "报文转换编号", least=0, free=True),
    ),
)
DXP_MSG: Final = Rule(
    f"{NS}DxpMsg",
    "终端节点报文",
    parts=(TRANS_INFO, Rule(f"{NS}Data", "数据", blob=True), ADD_INFO, _SIGNATURE),
    marks=_ROOT_MARKS,
)
SV_NO: Final = Rule(
    f"{NS}SvNo",
    "节点信息",
    parts=(
        Rule(f"{NS}MsgId", "节点报文编号", shortest=1, longest=32),
        Rule(f"{NS}SubMsgId", "拆分号", least=0, shortest=1, longest=1),
        Rule(f"{NS}SendTime", "发送时间", time=True),
        Rule(f"{NS}EndNode", "目的节点", shortest=1, longest=8),
        Rule(f"{NS}StaNode", "接入节点", shortest=1, longest=8),
    ),
    marks=(Mark("Ver", required=True, fixed="1.0"),),
)
DXP_MSG_SV: Final = Rule(
    f"{NS}DxpMsgSv",
    "传输节点报文",
    parts=(SV_NO, Rule(f"{NS}DxpMsg", "终端节点报文", free=True), _SIGNATURE),  # which is judged when it is opened
    marks=_ROOT_MARKS,
)
