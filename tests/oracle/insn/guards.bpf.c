// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The ways in which programs ask whether a kernel has something. A call of helper 1001 stands for code that needs
 * it, 1002 for the way around it, 1000 for code that always runs: none exists, nothing here is ever loaded.
 */
#define SEC(name) __attribute__((section("guard/" name), used))
#define KSYM extern __attribute__((section(".ksyms"), weak))
#define PRESENT() ((void (*)(void))1001)()
#define ABSENT() ((void (*)(void))1002)()
#define ALWAYS() ((void (*)(void))1000)()
#define RANDOM() ((unsigned int (*)(void))7)()
#define barrier_var(var) asm volatile("" : "+r"(var))

KSYM int kfunc(int value);
KSYM const int variable;
extern __attribute__((section(".kconfig"))) int LINUX_KERNEL_VERSION;
extern __attribute__((section(".kconfig"), weak)) _Bool CONFIG_THING;
const volatile int enabled = 1;
const volatile unsigned char mode = 2;

struct thing {
	int old;
	int field;
} __attribute__((preserve_access_index));

#define EXISTS(field) __builtin_preserve_field_info(field, 2)

SEC("plain")
int plain(void *ctx)
{
	if (kfunc) {
		kfunc(1);
		PRESENT();
	} else {
		ABSENT();
	}
	return 0;
}

SEC("variable")
int ksym_variable(void *ctx)
{
	if (&variable == 0)
		ABSENT();
	else
		PRESENT();
	ALWAYS();
	return 0;
}

SEC("saved")
int saved(void *ctx)
{
	int have = kfunc != 0;

	barrier_var(have);
	if (RANDOM() > 7)
		ALWAYS();
	if (RANDOM() & 1)
		ALWAYS();
	if (have)
		PRESENT();
	else
		ABSENT();
	return 0;
}

SEC("spilled")
int spilled(void *ctx)
{
	volatile unsigned long have = (unsigned long)&variable;

	ALWAYS();
	if (have)
		PRESENT();
	else
		ABSENT();
	return 0;
}

SEC("state")
int state(void *ctx)
{
	int how = 0;

	if (RANDOM() > 100) {
		if (kfunc)
			how = 2;
		else
			how = 1;
	}
	barrier_var(how);
	ALWAYS();
	if (how == 2)
		PRESENT();
	if (how == 1)
		ABSENT();
	return 0;
}

SEC("loop")
int loop(void *ctx)
{
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < 100; i++) {
		if (RANDOM() == 3)
			break;
		if (kfunc)
			PRESENT();
		else
			ABSENT();
	}
	ALWAYS();
	return i;
}

SEC("field")
int field(struct thing *ctx)
{
	if (EXISTS(ctx->field))
		PRESENT();
	else
		ABSENT();
	return 0;
}

SEC("field_and_ksym")
int field_and_ksym(struct thing *ctx)
{
	if (EXISTS(ctx->field) && kfunc)
		PRESENT();
	else
		ABSENT();
	ALWAYS();
	return 0;
}

SEC("version")
int version(void *ctx)
{
	if (LINUX_KERNEL_VERSION >= ((6 << 16) + (1 << 8)))
		PRESENT();
	else
		ABSENT();
	return 0;
}

SEC("config")
int config(void *ctx)
{
	if (CONFIG_THING)
		PRESENT();
	else
		ABSENT();
	return 0;
}

SEC("rodata")
int rodata(void *ctx)
{
	if (enabled)
		PRESENT();
	else
		ABSENT();
	return 0;
}

SEC("rodata_switch")
int rodata_switch(void *ctx)
{
	switch (mode) {
	case 2:
		PRESENT();
		break;
	case 3:
		ABSENT();
		break;
	default:
		ABSENT();
	}
	return 0;
}
