// SPDX-License-Identifier: Apache-2.0
int plain = 3; int zero;
static int hidden_zero;
static volatile const int secret = 5; const volatile int visible = 6;
SEC(".data.mine") int mine = 1; SEC(".data.static") static int only_static = 2;
SEC(".rodata.mine") const int romine = 9; SEC(".bss.mine") int bssmine;
SEC(".data.a_rather_long_section_name") int longone = 4;
SEC(".datax") int no_map = 4;
SEC("socket") int prog(void *ctx) { hidden_zero++; only_static++; 
    return plain + zero + hidden_zero + secret + visible + mine + only_static + romine + bssmine +
    longone; }
