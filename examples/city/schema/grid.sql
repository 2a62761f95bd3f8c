-- 基层治理网格事件: grid workers' events. An older part of the system quotes its mixed-case names.
CREATE TYPE public.event_level AS ENUM ('normal', 'urgent', 'major');

CREATE TABLE public."Sj_EventInfo" (
    "EventId"  bigint PRIMARY KEY,
    "SJBH"     varchar(20),
    "SJLX"     varchar(20),
    "BT"       varchar(100),
    "MS"       text,
    "WGBM"     varchar(20),
    "XZQH"     varchar(6),
    "FSDD"     varchar(200),
    "SBR"      varchar(100),
    "SBRSFZH"  varchar(18),
    "LXDH"     varchar(20),
    "SBSJ"     timestamptz,
    "BJSJ"     timestamptz,
    "DJ"       public.event_level,
    "ZT"       varchar(10),
    "MYD"      smallint,
    "JD"       double precision,
    "WD"       double precision
);
COMMENT ON TABLE public."Sj_EventInfo" IS '网格事件';
COMMENT ON COLUMN public."Sj_EventInfo"."EventId" IS '主键';
COMMENT ON COLUMN public."Sj_EventInfo"."SJBH" IS '事件编号';
COMMENT ON COLUMN public."Sj_EventInfo"."SJLX" IS '事件类型';
COMMENT ON COLUMN public."Sj_EventInfo"."BT" IS '标题';
COMMENT ON COLUMN public."Sj_EventInfo"."MS" IS '描述';
COMMENT ON COLUMN public."Sj_EventInfo"."WGBM" IS '网格编码';
COMMENT ON COLUMN public."Sj_EventInfo"."XZQH" IS '行政区划';
COMMENT ON COLUMN public."Sj_EventInfo"."FSDD" IS '发生地点';
COMMENT ON COLUMN public."Sj_EventInfo"."SBR" IS '上报人';
COMMENT ON COLUMN public."Sj_EventInfo"."SBRSFZH" IS '上报人公民身份号码';
COMMENT ON COLUMN public."Sj_EventInfo"."LXDH" IS '联系电话';
COMMENT ON COLUMN public."Sj_EventInfo"."SBSJ" IS '上报时间';
COMMENT ON COLUMN public."Sj_EventInfo"."BJSJ" IS '办结时间';
COMMENT ON COLUMN public."Sj_EventInfo"."DJ" IS '等级';
COMMENT ON COLUMN public."Sj_EventInfo"."ZT" IS '状态';
COMMENT ON COLUMN public."Sj_EventInfo"."MYD" IS '满意度';
COMMENT ON COLUMN public."Sj_EventInfo"."JD" IS '经度';
COMMENT ON COLUMN public."Sj_EventInfo"."WD" IS '纬度';

CREATE TABLE public.sj_czjl (
    id    bigint PRIMARY KEY,
    sjbh  varchar(20),
    czhj  varchar(20),
    czr   varchar(100),
    czyj  varchar(200),
    czsj  timestamptz
);
COMMENT ON TABLE public.sj_czjl IS '事件处置记录';
COMMENT ON COLUMN public.sj_czjl.id IS '主键';
COMMENT ON COLUMN public.sj_czjl.sjbh IS '事件编号';
COMMENT ON COLUMN public.sj_czjl.czhj IS '处置环节';
COMMENT ON COLUMN public.sj_czjl.czr IS '处置人';
COMMENT ON COLUMN public.sj_czjl.czyj IS '处置意见';
COMMENT ON COLUMN public.sj_czjl.czsj IS '处置时间';

CREATE TABLE public.wg_jbxx (
    wgbm  varchar(20) PRIMARY KEY,
    wgmc  varchar(60),
    xzqh  varchar(6),
    wgjb  varchar(20),
    wgz   varchar(100),
    hs    integer,
    mj    numeric(14,2)
);
COMMENT ON TABLE public.wg_jbxx IS '网格基本信息';
COMMENT ON COLUMN public.wg_jbxx.wgbm IS '网格编码';
COMMENT ON COLUMN public.wg_jbxx.wgmc IS '网格名称';
COMMENT ON COLUMN public.wg_jbxx.xzqh IS '行政区划';
COMMENT ON COLUMN public.wg_jbxx.wgjb IS '网格级别';
COMMENT ON COLUMN public.wg_jbxx.wgz IS '网格长';
COMMENT ON COLUMN public.wg_jbxx.hs IS '户数';
COMMENT ON COLUMN public.wg_jbxx.mj IS '面积（平方米）';

CREATE TABLE public.wg_worker (
    worker_no  varchar(20) PRIMARY KEY,
    xm         varchar(100),
    xb         char(1),
    sfzh       varchar(18),
    phone      varchar(20),
    wgbm       varchar(20),
    on_duty    boolean,
    joined     date,
    skills     text[]
);
COMMENT ON TABLE public.wg_worker IS '网格员';
COMMENT ON COLUMN public.wg_worker.worker_no IS '网格员编号';
COMMENT ON COLUMN public.wg_worker.xm IS '姓名';
COMMENT ON COLUMN public.wg_worker.xb IS '性别';
COMMENT ON COLUMN public.wg_worker.sfzh IS '公民身份号码';
COMMENT ON COLUMN public.wg_worker.phone IS '手机号码';
COMMENT ON COLUMN public.wg_worker.wgbm IS '网格编码';
COMMENT ON COLUMN public.wg_worker.on_duty IS '是否在岗';
COMMENT ON COLUMN public.wg_worker.joined IS '入职日期';
COMMENT ON COLUMN public.wg_worker.skills IS '技能';

CREATE TABLE public.dz_place (
    dzbm  varchar(20) PRIMARY KEY,
    dzmc  varchar(100),
    dzlb  varchar(20),
    bzdz  varchar(200),
    xzqh  varchar(6),
    jd    double precision,
    wd    double precision,
    mj    numeric(12,2),
    gxsj  timestamptz
);
COMMENT ON TABLE public.dz_place IS '标准地址';
COMMENT ON COLUMN public.dz_place.dzbm IS '地点编码';
COMMENT ON COLUMN public.dz_place.dzmc IS '地点名称';
COMMENT ON COLUMN public.dz_place.dzlb IS '地点类别';
COMMENT ON COLUMN public.dz_place.bzdz IS '标准地址';
COMMENT ON COLUMN public.dz_place.xzqh IS '行政区划';
COMMENT ON COLUMN public.dz_place.jd IS '经度';
COMMENT ON COLUMN public.dz_place.wd IS '纬度';
COMMENT ON COLUMN public.dz_place.mj IS '面积（平方米）';
COMMENT ON COLUMN public.dz_place.gxsj IS '更新时间';

CREATE TABLE public.jm_zf (
    id    bigint PRIMARY KEY,
    wgbm  varchar(20),
    sfzh  varchar(18),
    zflx  varchar(10),
    zfsj  timestamptz,
    zfjg  varchar(20)
);
COMMENT ON TABLE public.jm_zf IS '居民走访';
COMMENT ON COLUMN public.jm_zf.id IS '主键';
COMMENT ON COLUMN public.jm_zf.wgbm IS '网格编码';
COMMENT ON COLUMN public.jm_zf.sfzh IS '走访对象公民身份号码';
COMMENT ON COLUMN public.jm_zf.zflx IS '走访类型';
COMMENT ON COLUMN public.jm_zf.zfsj IS '走访时间';
COMMENT ON COLUMN public.jm_zf.zfjg IS '走访结果';
