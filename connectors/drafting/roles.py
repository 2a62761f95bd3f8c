"""What columns mean: by names met in the field (English, pinyin initials, Chinese) and by comment.

A role is what a theme store or a check knows. The first role whose name or words fit is taken, so
the particular stand before the general.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from datarail.contract import Grade


@dataclass(slots=True, frozen=True)
class Role:
    """names: whole column names in lower case, blanks and underscores taken out.
    words: what a title (the comment) contains or, with ^, begins with; $: ends with."""

    name: str
    names: tuple[str, ...]
    words: tuple[str, ...]
    title: str
    grade: Grade = "L2"
    meaning: str = ""


def _role(name: str, title: str, names: str, words: str, grade: Grade = "L2", meaning: str = "") -> Role:
    return Role(name, tuple(names.split()), tuple(words.split()), title, grade, meaning)


ROLES: tuple[Role, ...] = (
    # other people's ids and names, before the subject's own
    _role(
        "other_id",
        "他人身份号码",
        "frsfzh fddbrsfzh fddbrzjhm lerepid hzsfzh fqsfzh mqsfzh posfzh sbrsfzh jbrsfzh czrsfzh sqrsfzh"
        " nfsfzh hfsfzh xfsfzh fathersfzh mothersfzh",
        "法定代表人证件 法定代表人身份 法人身份 法人证件 户主公民 户主身份 父亲身份 母亲身份 配偶身份"
        " 上报人公民 上报人身份 被查询人 经办人身份 申请人身份 男方身份 女方身份 监护人身份",
        "L3",
        "GB 11643",
    ),
    _role(
        "citizen_id",
        "公民身份号码",
        "sfzh sfzhm gmsfhm gmsfzhm zjhm zjbh sfz idcard idcardno idno idnumber citizenid cerno certno",
        "公民身份 身份证号 居民身份证号 ^证件号码",
        "L3",
        "GB 11643",
    ),
    _role(
        "credit_code",
        "统一社会信用代码",
        "tyshxydm shxydm xydm uscc uscd uniscid creditcode socialcreditcode",
        "统一社会信用代码 社会信用代码",
        "L1",
        "GB 32100",
    ),
    _role("household_no", "户号", "hh hubh huhao householdno householdid", "^户号 户编号"),
    _role("relation", "与户主关系", "yhzgx relation relationship", "与户主关系"),
    _role("marital_status", "婚姻状况", "hyzk hyzkdm marital maritalstatus", "婚姻状况", "L2", "GB/T 2261.2"),
    _role(
        "education", "文化程度", "whcd whcddm xl xldm education degree", "文化程度 ^学历", "L2", "GB/T 4658"
    ),
    _role("ethnic", "民族", "mz mzdm minzu ethnic ethnicity nation nationality", "^民族", "L2", "GB/T 3304"),
    _role("sex", "性别", "xb xbdm xingbie sex gender", "^性别", "L2", "GB/T 2261.1"),
    _role(
        "birth_date",
        "出生日期",
        "csrq csny birthday birth birthdate dob dateofbirth",
        "出生日期 出生年月",
        "L3",
    ),
    _role("mobile", "手机号码", "sjhm sjh sj mobile mobileno cellphone phonenumber", "手机 移动电话", "L3"),
    _role(
        "phone",
        "联系电话",
        "lxdh dh dhhm tel telephone phone contactphone phoneno",
        "联系电话 联系方式 ^电话",
        "L3",
    ),
    _role(
        "residence",
        "现住址",
        "xzz jzdz jzdxz xjzdz residence residenceaddress",
        "现住址 居住地址 现居住",
        "L3",
    ),
    _role("capital", "注册资本", "zczb regcap registeredcapital capital", "注册资本", "L1"),
    _role(
        "established",
        "成立日期",
        "clrq estdate established establishdate foundeddate",
        "成立日期 设立日期",
        "L1",
    ),
    _role(
        "industry",
        "行业代码",
        "hydm hyml sshy industryco industry industrycode",
        "行业代码 所属行业 行业门类",
        "L1",
    ),
    _role(
        "legal_person",
        "法定代表人",
        "fddbr frxm fr lerep legalperson legalrepresentative",
        "法定代表人$ 法人姓名 ^负责人",
        "L2",
    ),
    _role(
        "firm_kind", "企业类型", "qylx gslx enttype firmtype companytype", "企业类型 公司类型 主体类型", "L1"
    ),
    _role(
        "firm_name",
        "企业名称",
        "qymc dwmc gsmc jgmc entname companyname firmname orgname",
        "企业名称 单位名称 公司名称 机构名称 ^名称",
        "L1",
    ),
    _role("firm_status", "登记状态", "djzt jyzt qyzt regstate regstatus", "登记状态 经营状态 企业状态", "L1"),
    _role(
        "division",
        "行政区划",
        "xzqh xzqhdm xzqdm qhdm hjqh division divisioncode areacode regioncode domdistrict",
        "行政区划 区划代码",
        "L1",
        "GB/T 2260",
    ),
    _role(
        "firm_address", "住所", "zs qydz zcdz dom domicile registeredaddress", "^住所 注册地址 经营场所", "L1"
    ),
    _role(
        "address",
        "户籍地址",
        "hjdz hjdxz zz zhuzhi dz dizhi address addr homeaddress",
        "户籍地址 户口所在地 ^地址 家庭住址 通讯地址 ^住址",
        "L3",
    ),
    _role("occupation", "职业", "zy zhiye zw occupation job position", "^职业 ^职务"),
    _role("person_status", "人员状态", "ryzt personstatus", "人员状态"),
    _role("person_name", "姓名", "xm xingming name fullname personname realname", "^姓名 人员姓名", "L3"),
    _role(
        "updated",
        "更新时间",
        "gxsj xgsj updatetime updatedat updated lastmodified sexttimestamp",
        "更新时间 修改时间 入库时间",
        "L1",
    ),
    _role("amount", "金额", "je jine amount money fee fakuan", "金额", "L2"),
)

_BY_NAME = {name: role for role in reversed(ROLES) for name in role.names}


def role_of(column: str, comment: str) -> Role | None:
    """The role of a column; its comment, where there is one, decides over its name."""
    for text in (comment.strip(), column):
        for role in ROLES:
            if any(_fits(text, word) for word in role.words):
                return role
    return _BY_NAME.get(re.sub(r"[\s_\-]", "", column).lower())


def _fits(text: str, word: str) -> bool:
    if word.startswith("^"):
        return text.startswith(word[1:])
    if word.endswith("$"):
        return text.endswith(word[:-1])
    return word in text


def by_name(name: str) -> Role:
    return next(role for role in ROLES if role.name == name)
