create table orders (key text primary key, item text not null, packed timestamptz);
