// C++17 and C++20, with exceptions and without, in one program.
int cpp17();
int cpp20();
int cpp23();
int cpp17_without_exceptions();
int cpp20_without_exceptions();

int main()
{
    const bool all = cpp17() && cpp20() && cpp23() && cpp17_without_exceptions() && cpp20_without_exceptions();
    return all ? 0 : 1;
}
