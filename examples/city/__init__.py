"""A sample city: three departments with databases of their own, and people to live in them.

police   户籍 (人口)          schema hj   7 tables
market   企业登记 (法人)       schema public 5 tables
grid     基层治理网格事件       schema public 6 tables

Every row is a pure function of (seed, table, number), so nothing has to be remembered: the
generator, the load and a test can each say what row 4711 looks like. All of it is made up.
"""
