-- 市场监管局企业登记: the firm register, with the trade's English field names.
CREATE TABLE public.e_baseinfo (
    pripid           varchar(36) PRIMARY KEY,
    uniscid          varchar(32),
    entname          varchar(200),
    enttype          varchar(4),
    lerep            varchar(100),
    lerepid          varchar(32),
    regcap           numeric(18,6),
    regcapcur        varchar(10),
    estdate          date,
    opfrom           date,
    opto             date,
    industryco       varchar(8),
    domdistrict      varchar(6),
    dom              varchar(300),
    tel              varchar(20),
    regstate         char(1),
    opscope          text,
    s_ext_timestamp  timestamp
);
-- Long scopes are stored apart and uncompressed: an update that leaves them alone does not log them.
ALTER TABLE public.e_baseinfo ALTER COLUMN opscope SET STORAGE EXTERNAL;
COMMENT ON TABLE public.e_baseinfo IS '企业基本信息';
COMMENT ON COLUMN public.e_baseinfo.pripid IS '主体身份代码';
COMMENT ON COLUMN public.e_baseinfo.uniscid IS '统一社会信用代码';
COMMENT ON COLUMN public.e_baseinfo.entname IS '企业名称';
COMMENT ON COLUMN public.e_baseinfo.enttype IS '企业类型';
COMMENT ON COLUMN public.e_baseinfo.lerep IS '法定代表人';
COMMENT ON COLUMN public.e_baseinfo.lerepid IS '法定代表人证件号码';
COMMENT ON COLUMN public.e_baseinfo.regcap IS '注册资本（万元）';
COMMENT ON COLUMN public.e_baseinfo.regcapcur IS '注册资本币种';
COMMENT ON COLUMN public.e_baseinfo.estdate IS '成立日期';
COMMENT ON COLUMN public.e_baseinfo.opfrom IS '经营期限自';
COMMENT ON COLUMN public.e_baseinfo.opto IS '经营期限至';
COMMENT ON COLUMN public.e_baseinfo.industryco IS '行业代码';
COMMENT ON COLUMN public.e_baseinfo.domdistrict IS '住所行政区划';
COMMENT ON COLUMN public.e_baseinfo.dom IS '住所';
COMMENT ON COLUMN public.e_baseinfo.tel IS '联系电话';
COMMENT ON COLUMN public.e_baseinfo.regstate IS '登记状态';
COMMENT ON COLUMN public.e_baseinfo.opscope IS '经营范围';
COMMENT ON COLUMN public.e_baseinfo.s_ext_timestamp IS '更新时间';

CREATE TABLE public.e_pri_person (
    personid  uuid PRIMARY KEY,
    pripid    varchar(36),
    name      varchar(100),
    cerno     varchar(32),
    sex       varchar(4),
    position  varchar(40),
    islerep   boolean,
    sdate     date
);
COMMENT ON TABLE public.e_pri_person IS '企业主要人员';
COMMENT ON COLUMN public.e_pri_person.personid IS '人员标识';
COMMENT ON COLUMN public.e_pri_person.pripid IS '主体身份代码';
COMMENT ON COLUMN public.e_pri_person.name IS '姓名';
COMMENT ON COLUMN public.e_pri_person.cerno IS '证件号码';
COMMENT ON COLUMN public.e_pri_person.sex IS '性别';
COMMENT ON COLUMN public.e_pri_person.position IS '职务';
COMMENT ON COLUMN public.e_pri_person.islerep IS '是否法定代表人';
COMMENT ON COLUMN public.e_pri_person.sdate IS '任职日期';

CREATE TABLE public.e_penalty (
    pendecno       varchar(60) PRIMARY KEY,
    uniscid        varchar(32),
    entname        varchar(200),
    pentype        varchar(20),
    penam          numeric(16,2),
    pendecissdate  date,
    illegfact      text,
    penauth        varchar(60),
    state          varchar(10),
    created_at     timestamptz
);
COMMENT ON TABLE public.e_penalty IS '行政处罚';
COMMENT ON COLUMN public.e_penalty.pendecno IS '处罚决定书文号';
COMMENT ON COLUMN public.e_penalty.uniscid IS '统一社会信用代码';
COMMENT ON COLUMN public.e_penalty.entname IS '企业名称';
COMMENT ON COLUMN public.e_penalty.pentype IS '违法行为类型';
COMMENT ON COLUMN public.e_penalty.penam IS '罚款金额（元）';
COMMENT ON COLUMN public.e_penalty.pendecissdate IS '处罚决定日期';
COMMENT ON COLUMN public.e_penalty.illegfact IS '违法事实';
COMMENT ON COLUMN public.e_penalty.penauth IS '处罚机关';
COMMENT ON COLUMN public.e_penalty.state IS '执行状态';
COMMENT ON COLUMN public.e_penalty.created_at IS '录入时间';

CREATE TABLE public.e_licence (
    lictype   varchar(40),
    licno     varchar(40),
    uniscid   varchar(32),
    entname   varchar(200),
    valfrom   date,
    valto     date,
    licanth   varchar(60),
    licstate  varchar(10),
    PRIMARY KEY (lictype, licno)
);
COMMENT ON TABLE public.e_licence IS '许可证';
COMMENT ON COLUMN public.e_licence.lictype IS '许可证类型';
COMMENT ON COLUMN public.e_licence.licno IS '许可证编号';
COMMENT ON COLUMN public.e_licence.uniscid IS '统一社会信用代码';
COMMENT ON COLUMN public.e_licence.entname IS '企业名称';
COMMENT ON COLUMN public.e_licence.valfrom IS '有效期自';
COMMENT ON COLUMN public.e_licence.valto IS '有效期至';
COMMENT ON COLUMN public.e_licence.licanth IS '许可机关';
COMMENT ON COLUMN public.e_licence.licstate IS '许可状态';

CREATE TABLE public.e_annual_report (
    pripid        varchar(36),
    ancheyear     integer,
    uniscid       varchar(32),
    assgro        numeric(18,2),
    vendinc       numeric(18,2),
    progro        numeric(18,2),
    empnum        integer,
    report        jsonb,
    submitted_at  timestamptz,
    PRIMARY KEY (pripid, ancheyear)
);
COMMENT ON TABLE public.e_annual_report IS '企业年报';
COMMENT ON COLUMN public.e_annual_report.pripid IS '主体身份代码';
COMMENT ON COLUMN public.e_annual_report.ancheyear IS '年报年度';
COMMENT ON COLUMN public.e_annual_report.uniscid IS '统一社会信用代码';
COMMENT ON COLUMN public.e_annual_report.assgro IS '资产总额（元）';
COMMENT ON COLUMN public.e_annual_report.vendinc IS '营业总收入（元）';
COMMENT ON COLUMN public.e_annual_report.progro IS '利润总额（元）';
COMMENT ON COLUMN public.e_annual_report.empnum IS '从业人数';
COMMENT ON COLUMN public.e_annual_report.report IS '年报内容';
COMMENT ON COLUMN public.e_annual_report.submitted_at IS '报送时间';
