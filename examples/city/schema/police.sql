-- 公安局户籍: the police's household register, as such systems look in the field.
CREATE SCHEMA hj;

CREATE TABLE hj.t_ry_jbxx (
    rybh  varchar(20) PRIMARY KEY,
    sfzh  varchar(32),
    xm    varchar(100),
    xb    varchar(10),
    mz    char(2),
    csrq  varchar(20),
    hyzk  varchar(2),
    whcd  varchar(2),
    hh    varchar(20),
    xzqh  varchar(6),
    hjdz  varchar(200),
    ryzt  varchar(10),
    gxsj  timestamptz
);
COMMENT ON TABLE hj.t_ry_jbxx IS '人员基本信息';
COMMENT ON COLUMN hj.t_ry_jbxx.rybh IS '人员编号';
COMMENT ON COLUMN hj.t_ry_jbxx.sfzh IS '公民身份号码';
COMMENT ON COLUMN hj.t_ry_jbxx.xm IS '姓名';
COMMENT ON COLUMN hj.t_ry_jbxx.xb IS '性别';
COMMENT ON COLUMN hj.t_ry_jbxx.mz IS '民族';
COMMENT ON COLUMN hj.t_ry_jbxx.csrq IS '出生日期';
COMMENT ON COLUMN hj.t_ry_jbxx.hyzk IS '婚姻状况';
COMMENT ON COLUMN hj.t_ry_jbxx.whcd IS '文化程度';
COMMENT ON COLUMN hj.t_ry_jbxx.hh IS '户号';
COMMENT ON COLUMN hj.t_ry_jbxx.xzqh IS '户籍行政区划';
COMMENT ON COLUMN hj.t_ry_jbxx.hjdz IS '户籍地址';
COMMENT ON COLUMN hj.t_ry_jbxx.ryzt IS '人员状态';
COMMENT ON COLUMN hj.t_ry_jbxx.gxsj IS '更新时间';

CREATE TABLE hj.t_hjxx (
    hh      varchar(20) PRIMARY KEY,
    hzxm    varchar(100),
    hzsfzh  varchar(18),
    hlx     varchar(10),
    xzqh    varchar(6),
    dz      varchar(200),
    lhrq    date,
    rks     integer,
    gxsj    timestamptz
);
COMMENT ON TABLE hj.t_hjxx IS '户籍信息';
COMMENT ON COLUMN hj.t_hjxx.hh IS '户号';
COMMENT ON COLUMN hj.t_hjxx.hzxm IS '户主姓名';
COMMENT ON COLUMN hj.t_hjxx.hzsfzh IS '户主公民身份号码';
COMMENT ON COLUMN hj.t_hjxx.hlx IS '户类型';
COMMENT ON COLUMN hj.t_hjxx.xzqh IS '行政区划';
COMMENT ON COLUMN hj.t_hjxx.dz IS '地址';
COMMENT ON COLUMN hj.t_hjxx.lhrq IS '立户日期';
COMMENT ON COLUMN hj.t_hjxx.rks IS '人口数';
COMMENT ON COLUMN hj.t_hjxx.gxsj IS '更新时间';

-- A composite key, which changes when somebody takes another place in the household.
CREATE TABLE hj.t_hcy (
    hh     varchar(20),
    cyxh   smallint,
    sfzh   varchar(32),
    yhzgx  varchar(10),
    rhrq   date,
    PRIMARY KEY (hh, cyxh)
);
COMMENT ON TABLE hj.t_hcy IS '户成员';
COMMENT ON COLUMN hj.t_hcy.hh IS '户号';
COMMENT ON COLUMN hj.t_hcy.cyxh IS '成员序号';
COMMENT ON COLUMN hj.t_hcy.sfzh IS '公民身份号码';
COMMENT ON COLUMN hj.t_hcy.yhzgx IS '与户主关系';
COMMENT ON COLUMN hj.t_hcy.rhrq IS '入户日期';

CREATE TABLE hj.t_jzz (
    jzzbh  varchar(20) PRIMARY KEY,
    sfzh   varchar(32),
    xm     varchar(100),
    xzz    varchar(200),
    xzqh   varchar(6),
    lxdh   varchar(20),
    qfrq   date,
    yxqz   date,
    zt     varchar(10),
    gxsj   timestamptz
);
COMMENT ON TABLE hj.t_jzz IS '居住证';
COMMENT ON COLUMN hj.t_jzz.jzzbh IS '居住证编号';
COMMENT ON COLUMN hj.t_jzz.sfzh IS '公民身份号码';
COMMENT ON COLUMN hj.t_jzz.xm IS '姓名';
COMMENT ON COLUMN hj.t_jzz.xzz IS '现住址';
COMMENT ON COLUMN hj.t_jzz.xzqh IS '居住地行政区划';
COMMENT ON COLUMN hj.t_jzz.lxdh IS '联系电话';
COMMENT ON COLUMN hj.t_jzz.qfrq IS '签发日期';
COMMENT ON COLUMN hj.t_jzz.yxqz IS '有效期至';
COMMENT ON COLUMN hj.t_jzz.zt IS '状态';
COMMENT ON COLUMN hj.t_jzz.gxsj IS '更新时间';

CREATE TABLE hj.t_sfz (
    id    bigint PRIMARY KEY,
    zjxh  varchar(20),
    sfzh  varchar(32),
    qfjg  varchar(60),
    qfrq  date,
    yxqz  date,
    zwtz  bytea,
    zt    varchar(10)
);
COMMENT ON TABLE hj.t_sfz IS '居民身份证';
COMMENT ON COLUMN hj.t_sfz.id IS '主键';
COMMENT ON COLUMN hj.t_sfz.zjxh IS '证件序号';
COMMENT ON COLUMN hj.t_sfz.sfzh IS '公民身份号码';
COMMENT ON COLUMN hj.t_sfz.qfjg IS '签发机关';
COMMENT ON COLUMN hj.t_sfz.qfrq IS '签发日期';
COMMENT ON COLUMN hj.t_sfz.yxqz IS '有效期至';
COMMENT ON COLUMN hj.t_sfz.zwtz IS '指纹特征';
COMMENT ON COLUMN hj.t_sfz.zt IS '状态';

CREATE TABLE hj.t_qyxx (
    id      bigint PRIMARY KEY,
    sfzh    varchar(32),
    qylx    varchar(10),
    qcxzqh  varchar(6),
    qrxzqh  varchar(6),
    qysj    timestamp,
    qyyy    varchar(40)
);
COMMENT ON TABLE hj.t_qyxx IS '户口迁移信息';
COMMENT ON COLUMN hj.t_qyxx.id IS '主键';
COMMENT ON COLUMN hj.t_qyxx.sfzh IS '公民身份号码';
COMMENT ON COLUMN hj.t_qyxx.qylx IS '迁移类型';
COMMENT ON COLUMN hj.t_qyxx.qcxzqh IS '迁出行政区划';
COMMENT ON COLUMN hj.t_qyxx.qrxzqh IS '迁入行政区划';
COMMENT ON COLUMN hj.t_qyxx.qysj IS '迁移时间';
COMMENT ON COLUMN hj.t_qyxx.qyyy IS '迁移原因';

-- No key: such a log can be published with its inserts only.
CREATE TABLE hj.t_cz_log (
    czsj   timestamptz,
    czy    varchar(20),
    ip     inet,
    czlx   varchar(10),
    sfzh   varchar(18),
    hs_ms  integer,
    cg     boolean
);
COMMENT ON TABLE hj.t_cz_log IS '户籍系统操作日志';
COMMENT ON COLUMN hj.t_cz_log.czsj IS '操作时间';
COMMENT ON COLUMN hj.t_cz_log.czy IS '操作员';
COMMENT ON COLUMN hj.t_cz_log.ip IS '终端地址';
COMMENT ON COLUMN hj.t_cz_log.czlx IS '操作类型';
COMMENT ON COLUMN hj.t_cz_log.sfzh IS '被查询人公民身份号码';
COMMENT ON COLUMN hj.t_cz_log.hs_ms IS '耗时（毫秒）';
COMMENT ON COLUMN hj.t_cz_log.cg IS '是否成功';
